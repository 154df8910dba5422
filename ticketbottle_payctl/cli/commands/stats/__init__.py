"""``payctl stats``."""
