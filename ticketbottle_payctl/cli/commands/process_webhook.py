"""Implement ``payctl process-webhook``, which processes one callback in the same way as the webhook function."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, NotRequired, TypedDict

import typer

from ticketbottle_payctl import providers
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.input import callback_options, change_options
from ticketbottle_payctl.cli.input.callback_source import AUTO, Source, read_request, resolve
from ticketbottle_payctl.cli.input.missing_keys import missing_keys
from ticketbottle_payctl.cli.input.stored_ids import receipt_ids
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.result import Block, Fields, Result, bad, bold, dim, good, line, warn
from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.cli.safety.confirm import Approval, permit
from ticketbottle_payctl.cli.safety.recorded import new_run, unrecorded_warnings
from ticketbottle_payctl.domain.callback import RejectReason
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.jobs.find_receipt import find_receipt
from ticketbottle_payctl.jobs.process_webhook import Alert, WebhookOutcome, WebhookReport, process_webhook
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.providers.tried_keys import TriedKey, tried_keys
from ticketbottle_payctl.store.payctl.receipts import StoredRequest

_NOT_GENUINE = frozenset({RejectReason.SIGNATURE, RejectReason.MALFORMED, RejectReason.OTHER_MERCHANT})
ReceiptId = Annotated[
    str | None,
    typer.Option("--receipt", metavar="ID", autocompletion=receipt_ids, help="Process a stored callback again."),
]
ALERTS = {
    Alert.LATE_MONEY: "money arrived after the payment failed or was cancelled: the order needs manual review",
    Alert.WRONG_AMOUNT: (
        "the amount paid differs from the payment's: nothing was changed; the order needs manual review"
    ),
    Alert.UNKNOWN_ORDER: (
        "money may have been paid for an order that is not in the database: the order needs manual review"
    ),
    Alert.CONTRADICTS_COMPLETED: "the gateway reports that a COMPLETED payment failed: the order needs manual review",
    Alert.UNKNOWN_STATUS: (
        "payctl does not recognise the payment's status: nothing was changed; the order needs manual review"
    ),
    Alert.MONEY_HELD: "the gateway received the money and blocked it as suspicious: a person must decide",
    Alert.SECOND_PAYMENT: "the customer paid twice, in two transactions: refund one of them",
    Alert.UNDOCUMENTED_CODE: "the gateway does not document this code: nothing was changed; ask the gateway",
    Alert.UNREADABLE: "the signature is valid, but payctl cannot read the callback: nothing was changed; "
    "settle the payment with payctl reconcile payments",
    Alert.AMBIGUOUS: "the signed text has two possible meanings: nothing was changed; "
    "settle the payment with payctl reconcile payments",
}


def process_webhook_command(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    file: callback_options.File = None,
    *,
    provider: callback_options.Provider = AUTO,
    query: callback_options.Query = None,
    event: callback_options.EventFile = None,
    path: callback_options.RequestPath = None,
    receipt: ReceiptId = None,
    dry_run: change_options.DryRun = False,
    reason: change_options.Reason = None,
    confirm: change_options.Confirm = None,
) -> None:
    """Settle a payment from a gateway's callback.

    The command checks the callback, locks its payment, writes the new status and one outbox event, and shows the reply
    to the gateway. Processing the same callback twice is harmless. `payctl runs` shows the record of the run. Exit 0 if
    the callback was accepted, 5 if it was refused.
    """
    session = Session.of(ctx)
    source = Source(file, query, event, path)
    stored = None if receipt is None else _stored(session, receipt, source, provider)
    request = read_request(source, provider) if stored is None else stored.request
    gateway = resolve(request, provider) if stored is None else providers.by_name(stored.provider)
    credentials = session.services.credentials(gateway)
    session.note_target()
    if not dry_run:
        permit(session, "process-webhook", Approval(reason=reason, confirm=confirm))
    stored_as = stored.receipt_id if stored else None
    selector = {"provider": gateway.name} | ({"receipt": stored_as} if stored_as else {})
    report = process_webhook(
        session.services.engine,
        request,
        gateway,
        credentials,
        dry_run=dry_run,
        stored_as=stored_as,
        run=new_run(session, "process-webhook", reason, selector=selector),
    )
    if report.reason == "not_configured":
        raise missing_keys(gateway, credentials)
    log_event(f"webhook_{report.outcome}", **report.facts, dry_run=report.dry_run)
    keys = tried_keys(gateway, request, credentials) if report.reason in _NOT_GENUINE else ()
    result = _result(report, keys, source, Adviser(session, reason or "settle an unclear callback"))
    warnings = [*result.warnings, *unrecorded_warnings(report.unrecorded, reason)]
    session.finish(replace(result, warnings=warnings))


def _stored(session: Session, receipt_id: str, source: Source, provider: str) -> StoredRequest:
    if provider != AUTO or any((source.file, source.query, source.event, source.path)):
        message = "--receipt cannot be combined with FILE, --query, --event, --path or --provider"
        raise InputError(message)
    return find_receipt(session.services.engine, receipt_id)


class OfTheCommand(TypedDict):
    """The fields that the command adds to the job's report."""

    keys: NotRequired[tuple[TriedKey, ...]]
    """The keys that the signature was checked against, if the callback is not genuine."""


def _result(report: WebhookReport, keys: Sequence[TriedKey], source: Source, adviser: Adviser) -> Result:
    return Result(
        "payctl.process-webhook/1",
        exit_codes.of_outcome(report.outcome),
        result={**report.result, "keys": [asdict(key) for key in keys]},
        human=_human(report, keys, source, adviser),
        warnings=[ALERTS[report.alert]] if report.alert else [],
        dry_run=report.dry_run,
        run_id=report.run_id,
    )


def _human(report: WebhookReport, keys: Sequence[TriedKey], source: Source, adviser: Adviser) -> list[Block]:
    blocks: list[Block] = [_headline(report)]
    blocks += [line(dim("  key "), key.description) for key in keys]
    if report.reason in _NOT_GENUINE:
        blocks.append(line(dim("  try "), _advice(source, report.provider)))
    if report.detail:
        blocks.append(line(dim("  why "), report.detail))
        blocks += [line(dim("  next"), bold(command)) for command in _settling(report, adviser)]
    event = report.event
    blocks.append(
        Fields(
            (
                ("payment", report.payment_id),
                ("status", f"{report.status_before} → {report.status_after}" if report.status_before else None),
                ("event", f"{event.event_type} → {TOPICS[event.event_type]}" if event else None),
                ("event id", event.id if event else None),
                ("event value", event.payload if event else None),
                ("reply", f"{report.reply.status} {report.reply.body}".rstrip()),
                ("receipt", None if report.dry_run else report.receipt_id),
                ("run", report.run_id),
            )
        )
    )
    if report.dry_run:
        blocks.append(line(warn("dry run:"), "everything was rolled back; nothing was written"))
    return blocks


def _advice(source: Source, provider: str) -> str:
    """Return the command that explains the refusal.

    The command never contains a query string, which may contain personal data.
    """
    file = source.event or source.file
    if file is None or file == "-":
        return "give the same callback to payctl verify-signature, which shows the reason"
    given = ["--event", file] if source.event else [file]
    return shlex.join(["payctl", "verify-signature", *given, "--provider", provider, "--explain"])


def _settling(report: WebhookReport, adviser: Adviser) -> list[str]:
    """Return the command that settles the payment of an unclear callback by asking the gateway about it."""
    if report.status_before == PaymentStatus.COMPLETED:
        return []
    options = [] if report.order_code else ["--provider", report.provider]
    return [adviser.changing(["reconcile", "payments"], [report.order_code] if report.order_code else [], options)]


def _headline(report: WebhookReport) -> Block:
    order = f"order {report.order_code}" if report.order_code else None
    gateway = gateway_name(report.provider)
    match report.outcome:
        case WebhookOutcome.SETTLED:
            word = "would be settled" if report.dry_run else "settled"
            return line(good(f"✔ {word}"), gateway, order, bold(str(report.status_after)))
        case WebhookOutcome.ALREADY_SETTLED:
            return line(good("✔ already settled"), gateway, order, dim("nothing to do"))
        case WebhookOutcome.TEST_PING:
            return line(good("✔ test ping"), gateway, dim("a test call from the gateway"))
        case WebhookOutcome.IGNORED:
            return line(good("✔ acknowledged"), gateway, report.reason, dim("it does not change the payment"))
        case WebhookOutcome.REFUSED:
            return line(bad("✘ refused:"), gateway, report.reason, order)
