"""Find out which consumer groups have read past a record. This module never writes to Kafka or joins a group."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]  # not in __all__

_MOST_GROUPS = 100
_LOGIN = 0.5
_OWN = "payctl-"
"""The prefix of payctl's own groups, such as the one for ``payctl cdc mark``. Order services never use these groups."""


@dataclass(frozen=True, slots=True)
class Readers:
    """The consumer groups that read a partition.

    ``past`` are the groups that have committed an offset past a record, and ``behind`` are the other groups. A group
    may commit an offset past a record even if it has not handled the record.
    """

    past: tuple[str, ...]
    behind: tuple[str, ...]


def readers_of(config: Mapping[str, Any], topic: str, partition: int, offset: int, limit: timedelta) -> Readers | None:
    """Return the groups that have committed an offset in the partition, or None if not all groups are known.

    The brokers list only the groups that the user is allowed to describe. Therefore the result is None if the user does
    not see any group for the partition and is not allowed to describe the cluster. The result is also None if the
    brokers do not answer within ``limit``.
    """
    deadline = time.monotonic() + limit.total_seconds()
    settings: dict[str, Any] = {**config, "error_cb": _ignore}
    client = AdminClient(settings)
    try:
        if "oauth_cb" in settings:
            client.poll(_LOGIN)  # the client fetches its token here; the calls below would not fetch it
        committed = {
            group: _committed(client, group, TopicPartition(topic, partition), deadline)
            for group in _groups(client, deadline)
        }
        found = {group: position for group, position in committed.items() if position is not None}
        if not found and not _sees_all(client, deadline):
            return None
    except (KafkaException, TimeoutError):
        return None
    return Readers(
        past=tuple(group for group, position in found.items() if position > offset),
        behind=tuple(group for group, position in found.items() if position <= offset),
    )


def _groups(client: AdminClient, deadline: float) -> list[str]:
    listed = client.list_consumer_groups(request_timeout=_left(deadline)).result(_left(deadline))
    names = sorted(group.group_id for group in listed.valid)
    return [name for name in names if not name.startswith(_OWN)][:_MOST_GROUPS]


def _committed(client: AdminClient, group: str, place: TopicPartition, deadline: float) -> int | None:
    """Return the group's committed offset in the partition, or None if there is no offset that the user can read."""
    asked = [ConsumerGroupTopicPartitions(group, [place])]
    answers = client.list_consumer_group_offsets(asked, request_timeout=_left(deadline))
    try:
        (answer,) = answers[group].result(_left(deadline)).topic_partitions
    except KafkaException:
        return None
    return int(answer.offset) if answer.error is None and answer.offset >= 0 else None


def _sees_all(client: AdminClient, deadline: float) -> bool:
    """Return whether the user is allowed to describe the cluster. Such a user sees every group."""
    described = client.describe_cluster(include_authorized_operations=True, request_timeout=_left(deadline))
    return AclOperation.DESCRIBE in (described.result(_left(deadline)).authorized_operations or ())


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        message = "the brokers did not answer in time"
        raise TimeoutError(message)
    return left


def _ignore(_error: object) -> None:
    """Ignore errors that the client reports through callbacks. The client's results contain the same errors."""
