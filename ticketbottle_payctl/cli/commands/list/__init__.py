"""Implement ``payctl list``."""
