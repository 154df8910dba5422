"""Implement ``payctl publish-outbox``."""
