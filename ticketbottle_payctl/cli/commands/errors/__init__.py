"""Implement ``payctl errors``."""
