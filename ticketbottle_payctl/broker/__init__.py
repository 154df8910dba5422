"""Kafka: one producer, one reader, and a name and a fault for every failure."""
