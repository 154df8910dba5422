"""``payctl runs``."""
