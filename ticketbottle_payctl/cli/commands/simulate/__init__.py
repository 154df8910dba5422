"""``payctl simulate``."""
