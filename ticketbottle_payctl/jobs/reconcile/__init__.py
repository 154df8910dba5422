"""Compare the database with the gateways (payments) and with Kafka (events)."""

from __future__ import annotations
