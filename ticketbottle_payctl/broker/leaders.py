"""Which partitions have no leader, as the brokers said when they were last asked.

A message for such a partition waits until it times out, and the batch with it. Who asks here first keeps it back and
lets the others flow.
"""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.broker.partition import partition_of

_NOBODY = -1


class Leaders:
    """What was learnt of each topic; of a topic that was never asked about, nothing is held against it."""

    def __init__(self) -> None:
        self._partitions: dict[str, int] = {}
        self._without: dict[str, frozenset[int]] = {}

    @property
    def missing(self) -> bool:
        """Whether any partition has none."""
        return bool(self._without)

    def learn(self, topic: str, leaders: Mapping[int, int]) -> None:
        """Take in a topic's partitions and the broker that leads each, -1 for nobody."""
        self._partitions[topic] = len(leaders)
        without = frozenset(partition for partition, leader in leaders.items() if leader == _NOBODY)
        if without:
            self._without[topic] = without
        else:
            self._without.pop(topic, None)

    def is_missing(self, topic: str, key: str) -> bool:
        """Whether a message with this key would find no leader."""
        without = self._without.get(topic)
        return without is not None and partition_of(key.encode(), self._partitions[topic]) in without
