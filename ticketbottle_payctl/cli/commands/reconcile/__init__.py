"""``payctl reconcile``."""
