"""Process a callback: verify it, settle its payment in one transaction, commit, and reply.

The transaction locks the payment, and also writes the event and the receipt. payctl confirms a callback to the gateway
only after the commit. For a forged callback, payctl does not read or write any table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import assert_never
from uuid import uuid4

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.callback import (
    Answer,
    Callback,
    IgnoredBecause,
    Outcome,
    Rejected,
    RejectReason,
    Request,
    Unclear,
    UnclearReason,
)
from ticketbottle_payctl.domain.decision_fields import Alert, WebhookOutcome
from ticketbottle_payctl.domain.late_commits import IDLE_WITHIN
from ticketbottle_payctl.domain.new_event import NewEvent, event_for
from ticketbottle_payctl.domain.payment import Payment
from ticketbottle_payctl.domain.settlement import Duplicate, Refusal, RefusalReason, Transition, settle
from ticketbottle_payctl.jobs.process_webhook.report import WebhookFacts, WebhookReport
from ticketbottle_payctl.providers.gateway import Credentials, Gateway
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import receipts, run_items
from ticketbottle_payctl.store.payctl.receipts import Receipt
from ticketbottle_payctl.store.payctl.run_lifecycle import optional_run
from ticketbottle_payctl.store.payctl.runs import NewRun, RunStatus
from ticketbottle_payctl.store.payments import lookup
from ticketbottle_payctl.store.payments import settle as payments

__all__ = ["Alert", "Trace", "WebhookFacts", "WebhookOutcome", "WebhookReport", "process_webhook"]

LIMITS = Limits(statement=timedelta(seconds=4), lock=timedelta(seconds=3), idle=IDLE_WITHIN, jit=False)
"""The limits for a callback's transaction.

Gateways wait ten seconds, so these limits leave time for the reply "try again".
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """The optional ids that link a request to its receipt, its event and its message."""

    correlation_id: str | None = None
    traceparent: str | None = None


_REJECTIONS = {
    RejectReason.SIGNATURE: Answer.BAD_SIGNATURE,
    RejectReason.MALFORMED: Answer.BAD_SIGNATURE,
    RejectReason.OTHER_MERCHANT: Answer.BAD_SIGNATURE,
    RejectReason.NOT_CONFIGURED: Answer.NOT_CONFIGURED,
}
_IGNORED_ALERTS = {
    IgnoredBecause.HELD: Alert.MONEY_HELD,
    IgnoredBecause.UNDOCUMENTED: Alert.UNDOCUMENTED_CODE,
}
_UNCLEAR_ALERTS = {
    UnclearReason.UNREADABLE: Alert.UNREADABLE,
    UnclearReason.AMBIGUOUS: Alert.AMBIGUOUS,
}
_REFUSALS = {
    RefusalReason.UNKNOWN_ORDER: (Answer.UNKNOWN_ORDER, Alert.UNKNOWN_ORDER),
    RefusalReason.OTHER_PROVIDER: (Answer.UNKNOWN_ORDER, Alert.UNKNOWN_ORDER),
    RefusalReason.WRONG_AMOUNT: (Answer.WRONG_AMOUNT, Alert.WRONG_AMOUNT),
    RefusalReason.CONTRADICTS_COMPLETED: (Answer.DUPLICATE, Alert.CONTRADICTS_COMPLETED),
    RefusalReason.UNKNOWN_STATUS: (Answer.DUPLICATE, Alert.UNKNOWN_STATUS),
}


def process_webhook(  # noqa: PLR0913 - one argument per option
    engine: Engine,
    request: Request,
    gateway: Gateway,
    credentials: Credentials,
    *,
    trace: Trace | None = None,
    dry_run: bool = False,
    stored_as: str | None = None,
    run: NewRun | None = None,
    new_id: Callable[[], str] = lambda: str(uuid4()),
) -> WebhookReport:
    """Process one callback, from verification to reply.

    The same callback may arrive any number of times, at the same moment or years later. With ``dry_run``, payctl locks
    and writes too, but rolls back at the end. ``stored_as`` is the id of the receipt that contains this request, if the
    request comes from a receipt. In that case, payctl does not store the callback again if it is still unclear.

    With ``run``, the processing of a genuine callback is recorded as this run, in separate transactions. If the record
    cannot be written, the payment is still settled.

    Raises:
        DatabaseUnavailableError: nothing was written. The caller must ask the gateway to send the callback again.
        ConfigError: payctl's schema or a privilege is missing. Nothing was written.
    """
    verified = gateway.verify(request, credentials)
    if isinstance(verified, Rejected):
        return WebhookReport(
            provider=gateway.name,
            outcome=WebhookOutcome.REFUSED,
            reason=verified.reason.value,
            reply=gateway.reply(_REJECTIONS[verified.reason]),
            dry_run=dry_run,
        )
    work = _Work(gateway, request, verified, trace or Trace(), new_id, dry_run, stored_as)
    with optional_run(engine, None if dry_run else run, LIMITS) as record:
        began = time.monotonic()
        with transaction(engine, LIMITS, commit=not dry_run) as connection:
            report = work.do(connection)
            unindexed = lookup.unindexed_payments(connection)
        database_s = time.monotonic() - began
        record.end(RunStatus.DONE, {report.outcome.value: 1}, also=partial(_note_payment, report))
    report = replace(report, run_id=record.id, unrecorded=record.unrecorded)
    return replace(report, unindexed_payments=unindexed, database_s=database_s)


def _note_payment(report: WebhookReport, connection: Connection, run_id: str) -> None:
    """Add the payment to the run's record. If the callback does not belong to any payment, add the receipt instead."""
    before = {"status": report.status_before} if report.event else None
    after = {"status": report.status_after, "event_id": report.event.id} if report.event else None
    row_id = report.payment_id or report.receipt_id
    if row_id is not None:
        run_items.record_payment(connection, run_id, 0, row_id, report.outcome.value, report.reason, before, after)


@dataclass(frozen=True, slots=True)
class _Work:
    gateway: Gateway
    request: Request
    verified: Callback | Unclear
    trace: Trace
    new_id: Callable[[], str]
    dry_run: bool
    stored_as: str | None

    def do(self, connection: Connection) -> WebhookReport:
        verified = self.verified
        if isinstance(verified, Unclear):
            return self._keep(connection, verified)
        return (
            self._ignore(connection, verified)
            if verified.outcome is Outcome.IGNORED
            else self._settle(connection, verified)
        )

    def _keep(self, connection: Connection, unclear: Unclear) -> WebhookReport:
        """Store an unclear callback and its payment's id in a receipt, so that the operator can decide."""
        payment = payments.find(connection, unclear)
        receipt = self._receipt(WebhookOutcome.REFUSED, unclear.reason.value, payment, None)
        if self.stored_as is None:
            receipts.store(connection, receipt)
        else:
            receipt = replace(receipt, id=self.stored_as)
        alert = _UNCLEAR_ALERTS[unclear.reason]
        after = str(payment.status) if payment else None
        report = self._report(
            WebhookOutcome.REFUSED, Answer.UNCLEAR, receipt, payment=payment, after=after, alert=alert
        )
        return replace(report, detail=unclear.detail)

    def _ignore(self, connection: Connection, callback: Callback) -> WebhookReport:
        because = callback.ignored_because
        outcome = WebhookOutcome.TEST_PING if because is IgnoredBecause.PING else WebhookOutcome.IGNORED
        alert = _IGNORED_ALERTS.get(because) if because else None
        return self._leave(connection, outcome, Answer.IGNORED, because.value if because else None, None, alert)

    def _settle(self, connection: Connection, callback: Callback) -> WebhookReport:
        found = payments.lock(connection, callback)
        if found is None:
            return self._refuse(connection, None, RefusalReason.UNKNOWN_ORDER)
        payment, now = found
        verdict = settle(payment, callback, now)
        match verdict:
            case Refusal(reason=reason):
                return self._refuse(connection, payment, reason)
            case Duplicate():
                return self._leave(connection, WebhookOutcome.ALREADY_SETTLED, Answer.DUPLICATE, None, payment)
            case Transition():
                return self._write(connection, payment, verdict)
            case _:
                assert_never(verdict)

    def _write(self, connection: Connection, payment: Payment, transition: Transition) -> WebhookReport:
        event = event_for(payment, transition.after, transition.at, self.new_id())
        receipt = self._receipt(WebhookOutcome.SETTLED, None, payment, event.id)
        payments.settle(connection, transition, event, receipt)
        return self._report(
            WebhookOutcome.SETTLED,
            Answer.DONE,
            receipt,
            payment=payment,
            after=transition.after.value,
            event=event,
            alert=Alert.LATE_MONEY if transition.late else None,
        )

    def _refuse(self, connection: Connection, payment: Payment | None, reason: RefusalReason) -> WebhookReport:
        answer, alert = _REFUSALS[reason]
        return self._leave(connection, WebhookOutcome.REFUSED, answer, reason.value, payment, alert)

    def _leave(  # noqa: PLR0913, PLR0917
        self,
        connection: Connection,
        outcome: WebhookOutcome,
        answer: Answer,
        reason: str | None,
        payment: Payment | None = None,
        alert: Alert | None = None,
    ) -> WebhookReport:
        """Store the receipt and leave the payment unchanged."""
        receipt = self._receipt(outcome, reason, payment, None)
        if receipts.store(connection, receipt):
            alert = Alert.SECOND_PAYMENT
        after = str(payment.status) if payment else None
        return self._report(outcome, answer, receipt, payment=payment, after=after, alert=alert)

    def _receipt(
        self, outcome: WebhookOutcome, reason: str | None, payment: Payment | None, event_id: str | None
    ) -> Receipt:
        return Receipt(
            id=self.new_id(),
            callback=self.verified,
            request=self.request,
            result=outcome.value,
            reason=reason,
            payment_id=payment.id if payment else None,
            event_id=event_id,
            correlation_id=self.trace.correlation_id,
            traceparent=self.trace.traceparent,
        )

    def _report(  # noqa: PLR0913
        self,
        outcome: WebhookOutcome,
        answer: Answer,
        receipt: Receipt,
        *,
        payment: Payment | None,
        after: str | None,
        event: NewEvent | None = None,
        alert: Alert | None = None,
    ) -> WebhookReport:
        return WebhookReport(
            provider=self.gateway.name,
            outcome=outcome,
            reason=receipt.reason,
            reply=self.gateway.reply(answer),
            payment_id=receipt.payment_id,
            order_code=payment.order_code if payment else None,
            status_before=str(payment.status) if payment else None,
            status_after=after,
            event=event,
            receipt_id=receipt.id,
            alert=alert,
            dry_run=self.dry_run,
        )
