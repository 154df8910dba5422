"""Implement ``payctl show``, which shows an order's state, and its history from the callback to the Kafka message."""
