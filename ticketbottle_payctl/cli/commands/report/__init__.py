"""``payctl report``."""
