"""Implement ``payctl runs``."""
