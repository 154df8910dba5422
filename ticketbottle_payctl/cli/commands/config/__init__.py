"""Implement ``payctl config``."""
