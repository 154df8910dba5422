"""Implement ``payctl report``."""
