"""Implement ``payctl show``, which shows an order's state and history, from the callback to the Kafka message."""
