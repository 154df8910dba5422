"""``payctl cleanup``."""
