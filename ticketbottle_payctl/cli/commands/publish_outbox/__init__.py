"""``payctl publish-outbox``."""
