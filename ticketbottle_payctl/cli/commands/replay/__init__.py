"""``payctl replay``."""
