"""Implement ``payctl stats``."""
