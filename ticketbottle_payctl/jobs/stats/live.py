"""Read the data for the live screen: the outbox's state, why events are waiting, publishers and refused callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ticketbottle_payctl.domain.causes import DeadGroup, SeenPublisher
from ticketbottle_payctl.jobs.stats.breakdown import tallied
from ticketbottle_payctl.jobs.stats.collect import LIMITS, WINDOW, explained, read_state
from ticketbottle_payctl.jobs.stats.model import StatsReport
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.inspect.evidence import evidence
from ticketbottle_payctl.store.outbox import stats as store
from ticketbottle_payctl.store.outbox.stats import By
from ticketbottle_payctl.store.payments.refused_callbacks import RefusedLately, refused_lately

__all__ = ["LiveReport", "RefusedLately", "collect_live"]

_NEWEST_CALLBACKS = 1000


@dataclass(frozen=True, slots=True)
class LiveReport:
    """The state of the outbox, its publishers and refused callbacks.

    The breakdown in ``stats`` contains only pending events. ``created`` counts the events created after the requested
    time. ``created`` is None if no time was requested. ``dead_groups`` are the largest groups of dead events.
    ``publishers`` are sorted by when they were last seen, latest first. ``publishers_known`` is False if the role is
    not allowed to read when publishers were last seen. ``refused`` is None if the role is not allowed to read
    callbacks.
    """

    stats: StatsReport
    created: int | None
    dead_groups: Sequence[DeadGroup]
    publishers: Sequence[SeenPublisher]
    publishers_known: bool
    refused: RefusedLately | None


def collect_live(
    engine: Engine,
    *,
    max_retries: int,
    since: timedelta = WINDOW,
    by: By = By.TYPE,
    created_after: datetime | None = None,
) -> LiveReport:
    """Read the live screen's data in one transaction. The cost does not grow with the number of published rows.

    Raises:
        DatabaseUnavailableError: the server cannot be reached, or did not answer in time.
        ConfigError: a table or a privilege is missing.
    """
    with transaction(engine, LIMITS, commit=False) as connection:
        recent, found, report = read_state(connection, max_retries, since)
        created = None if created_after is None else store.created_after(connection, created_after)
        groups = store.groups(connection, max_retries, (by,)) if by is not By.STATUS else []
        refused = refused_lately(connection, _NEWEST_CALLBACKS)
        seen = evidence(connection, max_retries, found, recent)
    return LiveReport(
        stats=tallied(explained(report, seen), by, [group for group in groups if not group.dead], {}),
        created=created,
        dead_groups=seen.dead_groups,
        publishers=seen.publishers,
        publishers_known=seen.publishers_known,
        refused=refused,
    )
