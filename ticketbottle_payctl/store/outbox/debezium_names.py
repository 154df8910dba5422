"""Define the names that payctl, Debezium and PostgreSQL share while Debezium publishes the outbox."""

from __future__ import annotations

from ticketbottle_payctl.domain.event import TOPICS

PUBLICATION = "payctl_outbox"
SLOT = "payctl_outbox"
ROLE = "payctl_cdc"
TOPIC_PREFIX = "payctl"
HEARTBEATS = f"__debezium-heartbeat.{TOPIC_PREFIX}"
"""The topic of the connector's heartbeats. No consumer has to read it."""

HEARTBEAT_MESSAGE = "payctl-heartbeat"
UNROUTABLE = "payment.unroutable"
"""The topic for events of an unknown type. payctl makes such an event dead, but Debezium must send it to some topic."""

MARKING_GROUP = "payctl-cdc-mark"
"""The consumer group whose offsets store how far Debezium's events are marked as published."""

ALL_TOPICS = (*TOPICS.values(), UNROUTABLE)
