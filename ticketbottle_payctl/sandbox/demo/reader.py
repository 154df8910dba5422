"""Read the records that arrive in topics from now on, and skip existing records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ticketbottle_payctl.broker.range_reader import Place, RangeReader, Received

_TIMEOUT = 10.0
_BATCH = 1000


class TopicReader:
    """A reader that begins at the current end of each topic.

    Raises:
        BrokerUnavailableError: the brokers did not answer in time.
        ConfigError: the brokers refused the connection, or the user is not allowed to read a topic.
    """

    def __init__(self, connection: Mapping[str, str | int | bool], topics: Iterable[str]) -> None:
        self._reader = RangeReader(connection, "payctl-demo", _TIMEOUT)
        self._places = [place for topic in topics for place in self._reader.places(topic)]
        self._reader.start({place: (end, None) for place, end in self.ends().items()})

    def read(self, timeout: float) -> list[Received]:
        """Return the records since the last call. Wait at most ``timeout`` seconds for the first record."""
        return self._reader.read(_BATCH, timeout)

    def ends(self) -> dict[Place, int]:
        """Return the current end of each partition."""
        return {place: end for place, (_, end) in self._reader.bounds(self._places).items()}

    def has_reached(self, ends: Mapping[Place, int]) -> bool:
        """Return whether every record before ``ends`` was read."""
        return all(self._reader.positions[place] >= end for place, end in ends.items())

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
