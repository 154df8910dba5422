"""Implement ``payctl show``: the state of an order, and its history from the callback to the message in Kafka."""
