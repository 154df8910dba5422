"""``payctl gateways``."""
