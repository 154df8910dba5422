"""Compare payctl's knowledge with the outside: gateways about payments, Kafka about events."""

from __future__ import annotations
