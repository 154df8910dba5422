"""Compare the payments with the gateways, and the outbox events with Kafka."""

from __future__ import annotations
