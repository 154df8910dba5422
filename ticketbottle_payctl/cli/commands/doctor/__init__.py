"""Implement ``payctl doctor``."""
