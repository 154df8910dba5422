"""Implement ``payctl cleanup``."""
