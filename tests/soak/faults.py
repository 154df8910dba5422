"""Plan the faults. The schedule depends only on the seed, so that a run with a finding can be repeated.

The start and the end of a fault are separate steps in the schedule. No fault affects the broker while the broker is
down or has just returned. All other processes can get faults at any time. No publisher is killed in the second half of
the long outage. When the broker returns, the publishers have therefore waited for a long time and poll rarely.

The first publisher and the first webhook process can be frozen and lose connections, but they are never killed. The
memory, descriptors and threads of these two processes are sampled during the whole run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_BROKER_NEEDS = 12.0
"""The minimum number of seconds between the broker's return and its next fault.

The broker needs 3 or 4 seconds to start.
"""
_LEAD_IN = 5.0
_DRAWS = 40


class Kind(StrEnum):
    """A kind of fault."""

    KILL_PUBLISHER = "kill -9 a publisher, start another"
    FREEZE_PUBLISHER = "freeze a publisher"
    KILL_WEBHOOK = "kill -9 the webhook's process in the middle of callbacks, start another"
    FREEZE_WEBHOOK = "freeze the webhook's process"
    KILL_REPLAY = "kill -9 a replay after its first statement, resume it"
    KILL_CLEANUP = "kill -9 a cleanup with archive after its first statement, start another"
    KILL_RECONCILE = "kill -9 a reconcile payments after its first statement, start another"
    FREEZE_OPERATOR = "freeze a replay, a cleanup or a reconcile payments"
    CUT_SESSIONS = "end database sessions of payctl with pg_terminate_backend"
    RESTART_POSTGRES = "restart PostgreSQL immediately"
    KILL_BROKER = "kill -9 the broker, restart it"
    STOP_BROKER = "stop the broker, restart it"
    SLOW_BROKER = "delay every byte to and from the broker"
    NARROW_BROKER = "give each connection to the broker 2 kB/s"
    HALF_OPEN_BROKER = "drop the broker's answers, then reset the connections"

    @property
    def stops_the_broker(self) -> bool:
        """Whether the broker is down while the fault lasts."""
        return self in {Kind.KILL_BROKER, Kind.STOP_BROKER}

    @property
    def kills_a_command(self) -> bool:
        """Whether an operator's command is killed.

        The operator's thread kills the command, so the schedule need not end the fault.
        """
        return self in {Kind.KILL_REPLAY, Kind.KILL_CLEANUP, Kind.KILL_RECONCILE}

    @property
    def hits_the_broker(self) -> bool:
        """Whether the fault prevents publishers from reaching the broker normally."""
        return self.stops_the_broker or self in {Kind.SLOW_BROKER, Kind.NARROW_BROKER, Kind.HALF_OPEN_BROKER}


USUAL = {
    Kind.KILL_PUBLISHER: 6,
    Kind.FREEZE_PUBLISHER: 3,
    Kind.KILL_WEBHOOK: 5,
    Kind.FREEZE_WEBHOOK: 2,
    Kind.KILL_REPLAY: 2,
    Kind.KILL_CLEANUP: 2,
    Kind.KILL_RECONCILE: 2,
    Kind.FREEZE_OPERATOR: 1,
    Kind.CUT_SESSIONS: 6,
    Kind.RESTART_POSTGRES: 2,
    Kind.KILL_BROKER: 2,
    Kind.STOP_BROKER: 1,
    Kind.SLOW_BROKER: 1,
    Kind.NARROW_BROKER: 1,
    Kind.HALF_OPEN_BROKER: 1,
}
"""The kinds of faults in a soak, each with its relative frequency."""

QUICK = tuple(kind for kind in USUAL if not kind.hits_the_broker)
"""The kinds of faults that do not affect the broker."""


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """A fault that begins ``at`` seconds after the start and lasts ``seconds``.

    ``victim`` is a number that selects the affected process. An operator's command is killed ``seconds`` after its
    first database session begins.
    """

    at: float
    kind: Kind
    seconds: float
    victim: int

    @property
    def end(self) -> float:
        """The time at which the fault ends, in seconds after the start."""
        return self.at + self.seconds


def plan(seed: int, seconds: float, *, outage: float, number: int, kinds: Sequence[Kind] = tuple(USUAL)) -> list[Fault]:
    """Return ``number`` faults for a run of ``seconds``, in order.

    One of these faults stops the broker for ``outage`` seconds.

    If ``outage`` is 0, no fault is a long outage.

    Raises:
        ValueError: The run is too short for the outage.
    """
    latest = seconds - outage - _BROKER_NEEDS
    if outage and latest < _LEAD_IN:
        message = f"{seconds:g} s are too short for an outage of {outage:g} s; more --minutes, or less --outage"
        raise ValueError(message)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    long = Fault(chance.uniform(_LEAD_IN, latest), Kind.STOP_BROKER, outage, 0) if outage else None
    faults = [long] if long else []
    gap = (seconds - _LEAD_IN) / number
    for n in range(number - len(faults)):
        at = _LEAD_IN + gap * (n + chance.random())
        faults.append(_fitting(chance, at, seconds, faults, long, kinds))
    return sorted(faults)


def _fitting(
    chance: random.Random, at: float, seconds: float, faults: list[Fault], long: Fault | None, kinds: Sequence[Kind]
) -> Fault:
    """Draw faults until one does not conflict with the planned faults.

    If every drawn fault conflicts, return a fault that cuts database sessions.
    """
    for _ in range(_DRAWS):
        fault = _fault(chance, at, kinds)
        busy = fault.kind.hits_the_broker and _broker_is_busy(fault, faults)
        spared = fault.kind is Kind.KILL_PUBLISHER and long is not None and long.end - long.seconds / 2 < at < long.end
        if fault.end <= seconds and not busy and not spared:
            return fault
    return Fault(at, Kind.CUT_SESSIONS, 0.0, chance.randrange(1000))


def _fault(chance: random.Random, at: float, kinds: Sequence[Kind]) -> Fault:
    kind = chance.choices(kinds, [USUAL[kind] for kind in kinds])[0]
    lasts = {
        Kind.FREEZE_PUBLISHER: 5.0,
        Kind.FREEZE_WEBHOOK: 5.0,
        Kind.FREEZE_OPERATOR: 5.0,
        Kind.KILL_BROKER: chance.uniform(0, 3),
        Kind.STOP_BROKER: chance.uniform(2, 15),
        Kind.SLOW_BROKER: chance.uniform(5, 15),
        Kind.NARROW_BROKER: chance.uniform(5, 15),
        Kind.HALF_OPEN_BROKER: chance.uniform(5, 15),
        Kind.KILL_REPLAY: chance.uniform(0, 0.8),
        Kind.KILL_CLEANUP: chance.uniform(0, 0.8),
        Kind.KILL_RECONCILE: chance.uniform(0, 0.8),
    }
    return Fault(at, kind, lasts.get(kind, 0.0), chance.randrange(1000))


def _broker_is_busy(fault: Fault, faults: list[Fault]) -> bool:
    others = [other for other in faults if other.kind.hits_the_broker]
    return any(fault.at < other.end + _BROKER_NEEDS and other.at < fault.end + _BROKER_NEEDS for other in others)
