"""Implement ``payctl list``, which shows events, payments or stored callbacks, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.commands.list.archive import list_archived
from ticketbottle_payctl.cli.commands.list.columns import OUTBOX, PAYMENTS, RECEIPTS
from ticketbottle_payctl.cli.commands.list.page import (
    Wide,
    columns_of,
    fields_option,
    finish_list,
    is_uuid,
    limit_of,
    position_of,
)
from ticketbottle_payctl.cli.input import selector_options
from ticketbottle_payctl.cli.input.id_files import named_ids
from ticketbottle_payctl.cli.input.selector import selector_of, stuck_for, window
from ticketbottle_payctl.cli.input.stored_ids import receipt_ids
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.list_summary import Place
from ticketbottle_payctl.jobs.list_rows import list_rows
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import WindowBy
from ticketbottle_payctl.store.payments.list_payments import PAYMENTS_PAGE, PaymentSelector, list_payments
from ticketbottle_payctl.store.payments.list_receipts import ReceiptSelector, list_receipts

After = Annotated[
    str | None,
    typer.Option("--after", metavar="CURSOR", help="Continue after an earlier page: give its `next` value."),
]
OutboxFields = Annotated[str | None, fields_option(OUTBOX)]
PaymentFields = Annotated[str | None, fields_option(PAYMENTS)]
ReceiptFields = Annotated[str | None, fields_option(RECEIPTS)]
ReceiptIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID...|-", autocompletion=receipt_ids, help="Ids; - reads them from stdin."),
]
FromArchive = Annotated[
    Path | None,
    typer.Option("--from-archive", metavar="FILE", help="Read an archive written by cleanup, instead of the database."),
]


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Return a parser that accepts only these words, in upper or lower case."""

    def read(text: str) -> str:
        for word in known:
            if word.lower() == text.lower():
                return word
        message = f"{text!r} is not one of {', '.join(known)}"
        raise typer.BadParameter(message)

    return read


def _offered(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a function that completes these words for a shell, in upper or lower case."""
    return lambda incomplete: [word for word in known if word.lower().startswith(incomplete.lower())]


_STATUSES = ("PENDING", "COMPLETED", "FAILED", "CANCELLED")
_RESULTS = tuple(exit_codes.OUTCOMES["WebhookOutcome"])
PaymentStatuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", parser=_one_of(_STATUSES), autocompletion=_offered(_STATUSES),
        help=f"{', '.join(_STATUSES)}; repeatable.",
    ),
]  # fmt: skip
CallbackResults = Annotated[
    list[str] | None,
    typer.Option(
        "--result", metavar="RESULT", parser=_one_of(_RESULTS), autocompletion=_offered(_RESULTS),
        help=f"{', '.join(_RESULTS)}; repeatable.",
    ),
]  # fmt: skip


def outbox_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    ids: selector_options.Ids = None,
    *,
    from_file: selector_options.FromFile = None,
    failed: selector_options.Failed = False,
    stuck: selector_options.Stuck = False,
    age: selector_options.Age = None,
    published: selector_options.Published = False,
    types: selector_options.Types = None,
    aggregates: selector_options.Aggregates = None,
    order_codes: selector_options.OrderCodes = None,
    provider: selector_options.Provider = None,
    since: selector_options.Since = None,
    until: selector_options.Until = None,
    by: selector_options.ByInstant = WindowBy.CREATED,
    error: selector_options.ErrorPattern = None,
    error_group: selector_options.ErrorGroup = None,
    limit: selector_options.Limit = None,
    everything: selector_options.Everything = False,
    after: After = None,
    fields: OutboxFields = None,
    wide: Wide = False,
    from_archive: FromArchive = None,
) -> None:
    """Show events of the outbox, newest first.

    An event must match every selector. If you give several of --failed, --stuck and --published, one of them is enough.
    Without --limit or --all, the list ends after 50 events. ndjson and csv are written as the rows are read, so a list
    can have any length.
    """
    session = Session.of(ctx)
    selector = selector_of(
        session,
        ids=ids,
        from_file=from_file,
        failed=failed,
        stuck=stuck,
        age=age,
        published=published,
        types=types,
        aggregates=aggregates,
        order_codes=order_codes,
        provider=provider,
        since=since,
        until=until,
        by=by,
        error=error,
        error_group=error_group,
        stored=from_archive is None,
    )
    columns = columns_of(session, OUTBOX, fields)
    most = limit_of(limit, everything=everything)
    if from_archive is not None:
        archived = list_archived(from_archive, selector, most, after)
        finish_list(session, OUTBOX, archived, columns, wide=wide, place=Place.FIRST)
    session.note_target()
    fetch = partial(list_events, selector=selector, max_retries=session.settings.max_retries)
    rows = list_rows(session.services.engine, fetch, limit=most, after=position_of(after))
    finish_list(session, OUTBOX, rows, columns, wide=wide, place=Place.after(after))


def payments_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    ids: selector_options.Ids = None,
    *,
    from_file: selector_options.FromFile = None,
    status: PaymentStatuses = None,
    failed: Annotated[bool, typer.Option("--failed", help="Failed payments; the same as --status FAILED.")] = False,
    stuck: Annotated[
        bool, typer.Option("--stuck", help="Payments that have been PENDING for longer than --age.")
    ] = False,
    age: selector_options.Age = None,
    order_codes: selector_options.OrderCodes = None,
    provider: selector_options.Provider = None,
    since: selector_options.Since = None,
    until: selector_options.Until = None,
    limit: selector_options.Limit = None,
    everything: selector_options.Everything = False,
    after: After = None,
    fields: PaymentFields = None,
    wide: Wide = False,
) -> None:
    """Show payments, newest first.

    A payment must match every selector. Without --limit or --all, the list ends after 50 payments.
    """
    session = Session.of(ctx)
    first, last = window(session, since, until, by="created")
    selector = PaymentSelector(
        ids=named_ids(ids, from_file),
        order_codes=tuple(order_codes or ()),
        provider=provider,
        statuses=(*(status or ()), *(["FAILED"] if failed else [])),
        stuck=stuck_for(stuck=stuck, age=age),
        since=first,
        until=last,
    )
    columns = columns_of(session, PAYMENTS, fields)
    most = limit_of(limit, everything=everything)
    session.note_target()
    fetch = partial(list_payments, selector=selector)
    position = position_of(after)
    rows = list_rows(session.services.engine, fetch, limit=most, after=position, page_size=PAYMENTS_PAGE)
    finish_list(session, PAYMENTS, rows, columns, wide=wide, place=Place.after(after))


def receipts_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    ids: ReceiptIds = None,
    *,
    from_file: selector_options.FromFile = None,
    results: CallbackResults = None,
    failed: Annotated[bool, typer.Option("--failed", help="Refused callbacks; the same as --result refused.")] = False,
    aggregates: selector_options.Aggregates = None,
    order_codes: selector_options.OrderCodes = None,
    provider: selector_options.Provider = None,
    since: selector_options.Since = None,
    until: selector_options.Until = None,
    limit: selector_options.Limit = None,
    everything: selector_options.Everything = False,
    after: After = None,
    fields: ReceiptFields = None,
    wide: Wide = False,
) -> None:
    """Show stored callbacks, newest first.

    The list does not show the content of a callback. A callback must match every selector. Without --limit or --all,
    the list ends after 50 callbacks.
    """
    session = Session.of(ctx)
    first, last = window(session, since, until, by="received")
    selector = ReceiptSelector(
        ids=named_ids(ids, from_file),
        order_codes=tuple(order_codes or ()),
        payments=tuple(aggregates or ()),
        provider=provider,
        results=(*(results or ()), *(["refused"] if failed else [])),
        since=first,
        until=last,
    )
    columns = columns_of(session, RECEIPTS, fields)
    most = limit_of(limit, everything=everything)
    session.note_target()
    fetch = partial(list_receipts, selector=selector)
    start = position_of(after, is_id=is_uuid)
    rows = list_rows(session.services.engine, fetch, limit=most, after=start)
    finish_list(session, RECEIPTS, rows, columns, wide=wide, place=Place.after(after))
