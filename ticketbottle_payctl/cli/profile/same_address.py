"""Compare the addresses of databases and brokers. Different spellings of the same address count as equal."""

from __future__ import annotations

from ticketbottle_payctl.settings.place import leads_to

_KAFKA = "9092"


def same_database(one: str, other: str) -> bool:
    """Return whether two URLs point to the same database.

    If neither value is a database URL, the result is True. If only one value is a database URL, the result is False.
    """
    first, second = leads_to(one), leads_to(other)
    return first is second if first is None or second is None else first.may_be(second)


def same_brokers(one: str, other: str) -> bool:
    """Return whether two lists contain the same brokers. The order does not matter."""
    return brokers(one) == brokers(other)


def brokers(text: str) -> frozenset[str]:
    """Return each ``host:port`` in a comma-separated list. A broker without a port gets Kafka's default port, 9092."""
    names = (each.strip().casefold() for each in text.split(","))
    return frozenset(name if ":" in name else f"{name}:{_KAFKA}" for name in names if name)
