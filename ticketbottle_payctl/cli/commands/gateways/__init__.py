"""Implement ``payctl gateways``."""
