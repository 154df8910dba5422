"""``payctl config``."""
