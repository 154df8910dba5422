"""Remember which partitions had no leader when the brokers were last queried.

A message to a partition without a leader delays its whole batch until the timeout. Therefore the publisher checks the
leaders first. It postpones events for partitions without a leader, and sends all other events.
"""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.broker.partition import partition_of

_NOBODY = -1


class Leaders:
    """The partitions without a leader. If a topic was not checked, all its partitions are assumed to have leaders."""

    def __init__(self) -> None:
        self._partitions: dict[str, int] = {}
        self._without: dict[str, frozenset[int]] = {}

    @property
    def missing(self) -> bool:
        """Return whether any partition has no leader."""
        return bool(self._without)

    def learn(self, topic: str, leaders: Mapping[int, int]) -> None:
        """Store the leader of each partition in a topic. A leader of -1 means that the partition has no leader."""
        self._partitions[topic] = len(leaders)
        without = frozenset(partition for partition, leader in leaders.items() if leader == _NOBODY)
        if without:
            self._without[topic] = without
        else:
            self._without.pop(topic, None)

    def is_missing(self, topic: str, key: str) -> bool:
        """Return whether the partition for this key has no leader."""
        without = self._without.get(topic)
        return without is not None and partition_of(key.encode(), self._partitions[topic]) in without
