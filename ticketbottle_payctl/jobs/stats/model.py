"""The report about the outbox's state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ticketbottle_payctl.domain.causes import (
    Cause,
    Idle,
    SeenPublisher,
)
from ticketbottle_payctl.store.outbox.republished import LongestWait
from ticketbottle_payctl.store.outbox.stats import By


class Drain(StrEnum):
    """The trend of the backlog in the last minute. A single report estimates the trend from the rows that it reads.

    ``BLOCKED`` means that all pending events are blocked or locked, so publishers cannot send any of them.
    """

    EMPTY = "empty"
    BLOCKED = "blocked"
    DRAINING = "draining"
    GROWING = "growing"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Lag:
    """Three percentiles of the lag, which is the time from an event's creation to its publication.

    The percentiles are None if nothing was sent.
    """

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """A row of a breakdown.

    ``published`` counts the events published in the window. ``published`` is None in a breakdown of unpublished events.
    """

    label: str | None
    pending: int
    dead: int
    published: int | None
    oldest_age_s: float | None
    error_group: str | None = None


@dataclass(frozen=True, slots=True)
class StatsReport:
    """The state of the outbox.

    Ages, lags and the forecast are in seconds, in database time. Rates are in events per second. The forecast covers
    the pending events that are neither blocked nor locked.

    ``published`` includes events that the old service sent but did not mark as published, and ``sent_unmarked``
    counts these events. ``published`` and ``total`` are estimates unless ``exact`` is True. Rates and lags cover the
    last ``window_s`` seconds. The window is shorter than requested if the newest 10,000 published events do not go back
    that far. ``created`` and ``sent`` count the events in each of the window's 30 parts, oldest first.

    The following fields have values only if the caller asked for an explanation. ``blocked`` counts pending events
    behind a dead event of their payment. ``locked`` counts pending events that other sessions have locked for ten
    seconds. ``superseded`` counts harmless dead events: no customer waits for them, and they block no pending event. It
    is 0 if the role is not allowed to read payments. ``closed`` counts the harmless events that a person has closed.
    ``repeated`` counts the others that repeat a sent success. ``causes`` are the reasons why events are waiting, and
    the pending failure events of paid orders, most urgent first. ``idle`` says that no publisher is active although an
    event could be sent. ``by_debezium`` is True if Debezium publishes the outbox.
    """

    at: datetime
    pending: int
    dead: int
    published: int
    total: int
    exact: bool
    sent_unmarked: int
    late: int
    oldest_pending_age_s: float | None
    oldest_pending_id: str | None
    oldest_dead_age_s: float | None
    lag: Lag
    in_per_s: float
    out_per_s: float
    drain: Drain
    drain_eta_s: float | None
    window_s: float
    created: tuple[int, ...]
    sent: tuple[int, ...]
    by: By | None = None
    items: tuple[Tally, ...] = ()
    blocked: int = 0
    locked: int = 0
    superseded: int = 0
    closed: int = 0
    repeated: int = 0
    causes: tuple[Cause, ...] = ()
    idle: Idle | None = None
    awaits_rescan: bool = False
    """Whether a running publisher has not looked at any of the waiting events since a replay requeued them."""
    by_debezium: bool = False
    away: SeenPublisher | None = None
    """The publisher that cannot reach its brokers, or None."""
    longest: LongestWait | None = None
    """The pending event that has waited longest. None if no event is pending, or if the role cannot read replays.

    A requeued event counts from its replay.
    """

    @property
    def longest_wait_s(self) -> float | None:
        """The longest wait of a pending event, or None if no event is pending.

        If the role is not allowed to read replays, this is the age of the oldest pending event.
        """
        return self.oldest_pending_age_s if self.longest is None else self.longest.age_s

    @property
    def stuck(self) -> int:
        """The number of pending events that no publisher can send, because they are blocked or locked."""
        return min(self.pending, self.blocked + self.locked)

    @property
    def harmful(self) -> tuple[Cause, ...]:
        """The causes that may keep a customer waiting."""
        return tuple(cause for cause in self.causes if not cause.is_harmless)
