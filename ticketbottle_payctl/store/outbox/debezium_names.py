"""Names that payctl, Debezium and PostgreSQL must agree on when Debezium publishes the outbox instead of payctl."""

from __future__ import annotations

from ticketbottle_payctl.domain.event import TOPICS

PUBLICATION = "payctl_outbox"
SLOT = "payctl_outbox"
ROLE = "payctl_cdc"
TOPIC_PREFIX = "payctl"
HEARTBEATS = f"__debezium-heartbeat.{TOPIC_PREFIX}"
"""Where the connector says that it lives. Nobody needs to read it."""

HEARTBEAT_MESSAGE = "payctl-heartbeat"
UNROUTABLE = "payment.unroutable"
"""Where events of an unknown type go. payctl makes such an event dead; Debezium cannot keep it back."""

MARKING_GROUP = "payctl-cdc-mark"
"""The consumer group that remembers up to where Debezium's messages are marked as published."""

ALL_TOPICS = (*TOPICS.values(), UNROUTABLE)
