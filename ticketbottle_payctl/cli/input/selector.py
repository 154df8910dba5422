"""Build an event selector from the options."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input.id_files import named_ids
from ticketbottle_payctl.cli.input.times import database_clock_of, instant, is_fixed, note_window, zone_of
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy

DEFAULT_AGE = timedelta(minutes=5)


def selector_of(  # noqa: PLR0913 - one argument per option
    session: Session,
    *,
    ids: list[str] | None = None,
    from_file: str | None = None,
    failed: bool = False,
    stuck: bool = False,
    age: timedelta | None = None,
    published: bool = False,
    types: list[str] | None = None,
    aggregates: list[str] | None = None,
    order_codes: list[str] | None = None,
    provider: str | None = None,
    since: str | None = None,
    until: str | None = None,
    by: WindowBy = WindowBy.CREATED,
    error: str | None = None,
    error_group: str | None = None,
    limit: int | None = None,
    stored: bool = True,
) -> Selector:
    """Return the selector for the options, and print the resolved time window on stderr.

    If ``stored`` is False, the rows are not in the database, so the database's clock is not read.

    Raises:
        InputError: ids come from two sources, or the file contains no ids.
        typer.BadParameter: options contradict each other, or an instant cannot be read.
    """
    named = named_ids(ids, from_file)
    start, end = window(session, since, until, by=by.value, clock=None if stored else session.services.now)
    if by is not WindowBy.CREATED and start is None and end is None:
        message = "--by needs --since or --until"
        raise typer.BadParameter(message)
    return Selector(
        ids=named,
        failed=failed,
        stuck=stuck_for(stuck=stuck, age=age),
        published=published,
        types=tuple(types or ()),
        aggregates=tuple(aggregates or ()),
        order_codes=tuple(order_codes or ()),
        provider=provider,
        since=start,
        until=end,
        by=by,
        error=error,
        error_group=error_group,
        limit=limit,
    )


def stuck_for(*, stuck: bool, age: timedelta | None) -> timedelta | None:
    """Return how long an event must have been pending to be selected, or None if --stuck was not given.

    Raises:
        typer.BadParameter: --age was given without --stuck.
    """
    if age is not None and not stuck:
        message = "--age needs --stuck"
        raise typer.BadParameter(message)
    return (age or DEFAULT_AGE) if stuck else None


def window(
    session: Session,
    since: str | None,
    until: str | None,
    *,
    by: str | None = None,
    clock: Callable[[], datetime] | None = None,
) -> tuple[datetime | None, datetime | None]:
    """Return the start and end of a window in UTC, and print them on stderr.

    Times such as ``2h`` are relative to ``clock``, which is the database's clock by default. The clock is read only if
    needed.

    Raises:
        typer.BadParameter: an instant cannot be read, or the end is not after the start.
        DatabaseUnavailableError: the database's clock cannot be read.
    """
    if since is None and until is None:
        return None, None
    first, last = _bounds(session, since, until, session.services.now())
    if not all(is_fixed(text) for text in (since, until) if text):
        first, last = _bounds(session, since, until, (clock or database_clock_of(session))())
    if first and last and first >= last:
        message = "--until must be later than --since"
        raise typer.BadParameter(message)
    note_window(session, first, last, by=by)
    return first, last


def _bounds(
    session: Session, since: str | None, until: str | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    zone = zone_of(session)
    first = instant(since, zone, now, option="--since") if since else None
    return first, instant(until, zone, now, option="--until") if until else None
