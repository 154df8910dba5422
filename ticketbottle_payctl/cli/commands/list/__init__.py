"""``payctl list``."""
