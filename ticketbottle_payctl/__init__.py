"""Verify gateway callbacks, settle payments, and publish their events to Kafka."""

__version__ = "0.2.0"
