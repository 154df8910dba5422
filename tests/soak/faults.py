"""The schedule of faults: a pure function of the seed, so that a run with a finding can be repeated.

A fault begins at one instant and ends at another, and both are steps of the schedule. The broker gets no fault while it
is down or has just returned. Publishers and the database may get faults at any time. In the second half of the long
outage no publisher is killed, so that the publishers have waited long and poll rarely when the broker returns.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

_GAP = (2.0, 9.0)
_BROKER_NEEDS = 12.0
"""Seconds from the broker's return to its next fault. The broker needs 3 or 4 seconds to start."""
_LEAD_IN = 5.0


class Kind(StrEnum):
    """A kind of fault."""

    KILL_PUBLISHER = "kill -9 a publisher, start another"
    FREEZE_PUBLISHER = "freeze a publisher"
    KILL_BROKER = "kill -9 the broker, restart it"
    STOP_BROKER = "stop the broker, restart it"
    RESTART_POSTGRES = "restart PostgreSQL immediately"

    @property
    def hits_the_broker(self) -> bool:
        """Whether the broker is down between begin and end."""
        return self in {Kind.KILL_BROKER, Kind.STOP_BROKER}


_USUAL = (
    *[Kind.KILL_PUBLISHER] * 4,
    *[Kind.FREEZE_PUBLISHER] * 2,
    *[Kind.KILL_BROKER] * 2,
    Kind.STOP_BROKER,
    *[Kind.RESTART_POSTGRES] * 2,
)


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """A fault that begins ``at`` seconds after the start and lasts ``seconds``. ``victim`` is a publisher's number."""

    at: float
    kind: Kind
    seconds: float
    victim: int

    @property
    def end(self) -> float:
        """The instant of its end."""
        return self.at + self.seconds


def plan(seed: int, seconds: float, *, outage: float, publishers: int) -> list[Fault]:
    """Return the faults of a run of ``seconds``, in order. One of them stops the broker for ``outage`` seconds.

    Raises:
        ValueError: the run is too short for the outage.
    """
    latest = seconds - outage - _BROKER_NEEDS
    if latest < _LEAD_IN:
        message = f"{seconds:g} s are too short for an outage of {outage:g} s; more --minutes, or less --outage"
        raise ValueError(message)
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    long = Fault(chance.uniform(_LEAD_IN, latest), Kind.STOP_BROKER, outage, 0)
    faults, at = [long], _LEAD_IN
    while at < seconds:
        fault = _fault(chance, at, publishers)
        busy = fault.kind.hits_the_broker and _broker_is_busy(fault, faults)
        spared = fault.kind is Kind.KILL_PUBLISHER and long.end - outage / 2 < fault.at < long.end
        if fault.end <= seconds and not busy and not spared:
            faults.append(fault)
        at += chance.uniform(*_GAP)
    return sorted(faults)


def _fault(chance: random.Random, at: float, publishers: int) -> Fault:
    kind, victim = chance.choice(_USUAL), chance.randrange(publishers)
    lasts = {
        Kind.FREEZE_PUBLISHER: 5.0,
        Kind.KILL_BROKER: chance.uniform(0, 3),
        Kind.STOP_BROKER: chance.uniform(2, 15),
    }
    return Fault(at, kind, lasts.get(kind, 0.0), victim)


def _broker_is_busy(fault: Fault, faults: list[Fault]) -> bool:
    others = [other for other in faults if other.kind.hits_the_broker]
    return any(fault.at < other.end + _BROKER_NEEDS and other.at < fault.end + _BROKER_NEEDS for other in others)
