"""Implement ``payctl demo``."""
