"""What the outside knows better: the gateways about payments, Kafka about events."""

from __future__ import annotations
