"""Kafka: one producer, one delivery per message, every failure with a name and a fault."""
