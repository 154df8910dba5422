"""Remember which partitions had no leader when the brokers were last asked.

A message to such a partition waits until it times out, and so does its whole batch. So the publisher checks this first.
It defers such an event and sends the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.broker.partition import partition_of

_NOBODY = -1


class Leaders:
    """The partitions without a leader. A topic that was not checked counts as having all its leaders."""

    def __init__(self) -> None:
        self._partitions: dict[str, int] = {}
        self._without: dict[str, frozenset[int]] = {}

    @property
    def missing(self) -> bool:
        """Whether any partition has no leader."""
        return bool(self._without)

    def learn(self, topic: str, leaders: Mapping[int, int]) -> None:
        """Store the leader of each partition of a topic. -1 means that the partition has no leader."""
        self._partitions[topic] = len(leaders)
        without = frozenset(partition for partition, leader in leaders.items() if leader == _NOBODY)
        if without:
            self._without[topic] = without
        else:
            self._without.pop(topic, None)

    def is_missing(self, topic: str, key: str) -> bool:
        """Return whether the partition of this key has no leader."""
        without = self._without.get(topic)
        return without is not None and partition_of(key.encode(), self._partitions[topic]) in without
