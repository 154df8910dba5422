"""From the selector options as typed to the selector they mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.id_files import named_ids
from ticketbottle_payctl.cli.input.times import instant, note_window, zone_of
from ticketbottle_payctl.store.outbox.selector import By, Selector

DEFAULT_AGE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Given:
    """The options that select events, as typed."""

    ids: list[str] | None = None
    from_file: str | None = None
    failed: bool = False
    stuck: bool = False
    age: timedelta | None = None
    published: bool = False
    types: list[str] | None = None
    aggregates: list[str] | None = None
    order_codes: list[str] | None = None
    provider: str | None = None
    since: str | None = None
    until: str | None = None
    by: By = By.CREATED
    error: str | None = None
    error_group: str | None = None
    limit: int | None = None

    @property
    def names_ids(self) -> bool:
        """Whether single events were named, each of which somebody wants to hear about."""
        return bool(self.ids) or self.from_file is not None

    @property
    def narrows_all(self) -> bool:
        """Whether something was said that contradicts everything that is not published."""
        return self.names_ids or self.failed or self.stuck or self.published


def selector_of(session: Session, given: Given) -> Selector:
    """The selector; the window that was understood is said on stderr.

    Raises:
        InputError: ids from two sources, or a file that holds none.
        typer.BadParameter: options that contradict each other, or an instant that is none.
    """
    ids = named_ids(given.ids, given.from_file)
    since, until = window(session, given.since, given.until, by=given.by.value)
    if given.by is not By.CREATED and since is None and until is None:
        message = "--by goes with --since or --until"
        raise typer.BadParameter(message)
    return Selector(
        ids=ids,
        failed=given.failed,
        stuck=stuck_for(stuck=given.stuck, age=given.age),
        published=given.published,
        types=tuple(given.types or ()),
        aggregates=tuple(given.aggregates or ()),
        order_codes=tuple(given.order_codes or ()),
        provider=given.provider,
        since=since,
        until=until,
        by=given.by,
        error=given.error,
        error_group=given.error_group,
        limit=given.limit,
    )


def stuck_for(*, stuck: bool, age: timedelta | None) -> timedelta | None:
    """How long something must have waited, None where that was not asked.

    Raises:
        typer.BadParameter: an age without what it is the age of.
    """
    if age is not None and not stuck:
        message = "--age goes with --stuck"
        raise typer.BadParameter(message)
    return (age or DEFAULT_AGE) if stuck else None


def window(
    session: Session, since: str | None, until: str | None, *, by: str | None = None
) -> tuple[datetime | None, datetime | None]:
    """The instants, in UTC, and a note of them on stderr.

    Raises:
        typer.BadParameter: one is no instant, or the end is not after the beginning.
    """
    if since is None and until is None:
        return None, None
    zone, now = zone_of(session), session.services.now()
    first = instant(since, zone, now, option="--since") if since else None
    last = instant(until, zone, now, option="--until") if until else None
    if first and last and first >= last:
        message = "--until is not after --since"
        raise typer.BadParameter(message)
    note_window(session, first, last, by=by)
    return first, last
