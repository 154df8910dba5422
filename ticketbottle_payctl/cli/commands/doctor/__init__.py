"""``payctl doctor``."""
