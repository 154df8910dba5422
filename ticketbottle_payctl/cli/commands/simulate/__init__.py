"""Implement ``payctl simulate``."""
