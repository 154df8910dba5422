"""List the events in an archive that a cleanup wrote. No database is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import typer

from ticketbottle_payctl import archive_file
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.jobs.list_rows import Listing
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.store.db.short_ids import is_short
from ticketbottle_payctl.store.outbox.selector import Selector, WindowBy

Event = Mapping[str, object]


def list_archived(path: Path, selector: Selector, limit: int | None, after: str | None) -> Listing:
    """Return the selected events in the archive's order, oldest first.

    Raises:
        typer.BadParameter: a selector needs a database.
    """
    _refuse_unanswerable(selector, after)
    fits = _test(selector)

    def rows(listing: Listing) -> Iterator[dict[str, object]]:
        for event in archive_file.read(path):
            if fits(event):
                if listing.count == limit:
                    listing.more = True
                    return
                yield _row(event)

    return Listing(rows)


def _refuse_unanswerable(selector: Selector, after: str | None) -> None:
    asked = {
        "--failed": selector.failed,
        "--stuck": selector.stuck is not None,
        "--error": selector.error is not None,
        "--error-group": selector.error_group is not None,
        "--after": after is not None,
    }
    given = [option for option, used in asked.items() if used]
    if given:
        options = ", ".join(given)
        message = f"{options} cannot be combined with --from-archive: an archive contains only published events"
        raise typer.BadParameter(message)


def _test(selector: Selector) -> Callable[[Event], bool]:
    tests: list[Callable[[Event], bool]] = []
    for wanted, name in ((selector.ids, "id"), (selector.types, "eventType"), (selector.aggregates, "aggregateId")):
        if wanted:
            tests.append(_one_of(frozenset(wanted), name))
    if selector.order_codes:
        codes = frozenset(selector.order_codes)
        tests.append(lambda event: _order_code(event) in codes)
    if selector.provider:
        tests.append(lambda event: _gateway(_payload(event).get("provider")) == selector.provider)
    column = "createdAt" if selector.by is WindowBy.CREATED else "publishedAt"
    since, until = selector.since, selector.until
    if since:
        tests.append(lambda event: (at := _instant(event.get(column))) is not None and at >= since)
    if until:
        tests.append(lambda event: (at := _instant(event.get(column))) is not None and at < until)
    return lambda event: all(fits(event) for fits in tests)


def _one_of(wanted: frozenset[str], name: str) -> Callable[[Event], bool]:
    short = tuple(each for each in wanted if is_short(each))
    return lambda event: event.get(name) in wanted or str(event.get(name)).startswith(short or ("\0",))


def _row(event: Event) -> dict[str, object]:
    payload = _payload(event)
    return {
        "id": event.get("id"),
        "event_type": event.get("eventType"),
        "state": "published",
        "order_code": _order_code(event),
        "aggregate_id": event.get("aggregateId"),
        "aggregate_type": event.get("aggregateType"),
        "provider": payload.get("provider"),
        "created_at": _instant(event.get("createdAt")),
        "published_at": _instant(event.get("publishedAt")),
        "retry_count": event.get("retryCount"),
        "last_error": event.get("lastError"),
        "superseded": None,
        "blocked": False,
        "closed": False,
    }


def _payload(event: Event) -> Mapping[str, object]:
    payload = event.get("payload")
    return payload if isinstance(payload, dict) else {}


def _order_code(event: Event) -> object:
    """Return the order code. The field's name differs between payctl's events and the payment service's events."""
    payload = _payload(event)
    return payload.get("order_code") or payload.get("orderCode")


def _gateway(name: object) -> str | None:
    try:
        return by_name(str(name)).name
    except NotFoundError:
        return None


def _instant(text: object) -> datetime | None:
    """Return an instant from its text in the archive. The text is in UTC but has no zone."""
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC) if text else None
    except ValueError:
        return None
