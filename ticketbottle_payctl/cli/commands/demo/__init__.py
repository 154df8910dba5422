"""``payctl demo``."""
