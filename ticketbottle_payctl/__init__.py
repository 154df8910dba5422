"""Verify gateways' callbacks, settle payments, and publish the payments' events to Kafka."""

__version__ = "0.2.0"
