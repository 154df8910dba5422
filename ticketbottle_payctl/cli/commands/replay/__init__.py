"""Implement ``payctl replay``."""
