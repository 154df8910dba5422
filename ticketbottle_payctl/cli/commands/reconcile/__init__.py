"""Implement ``payctl reconcile``."""
