"""Define the names that payctl, Debezium and PostgreSQL share if Debezium publishes the outbox."""

from __future__ import annotations

from ticketbottle_payctl.domain.event import TOPICS

PUBLICATION = "payctl_outbox"
SLOT = "payctl_outbox"
ROLE = "payctl_cdc"
TOPIC_PREFIX = "payctl"
HEARTBEATS = f"__debezium-heartbeat.{TOPIC_PREFIX}"
"""The topic for the connector's heartbeats. Consumers need not read it."""

HEARTBEAT_MESSAGE = "payctl-heartbeat"
UNROUTABLE = "payment.unroutable"
"""The topic for events of an unknown type. payctl marks such events as dead, but Debezium must send them to a topic."""

MARKING_GROUP = "payctl-cdc-mark"
"""The consumer group that marks Debezium's events as published.

Its committed offsets show how far the marking has progressed.
"""

ALL_TOPICS = (*TOPICS.values(), UNROUTABLE)
