"""Define the result of processing a callback, for the command line, the Lambda functions and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from ticketbottle_payctl.domain.callback import Reply
from ticketbottle_payctl.domain.decision_fields import Alert, Decision, ProviderName, WebhookOutcome
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.domain.new_event import NewEvent
from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded


class WebhookFacts(Decision):
    """The decision on a callback, with its payment."""

    provider: ProviderName
    """The gateway's name."""
    outcome: WebhookOutcome
    payment_id: str | None
    """The payment's id in the payment service."""
    order_code: str | None
    """The order code. payctl does not interpret it."""


class WrittenEvent(TypedDict):
    """The outbox event that a callback writes."""

    id: str
    event_type: str
    topic: str
    key: str
    payload: Mapping[str, object]


class ReplyFacts(TypedDict):
    """The HTTP reply to the gateway."""

    status: int
    headers: Mapping[str, str]
    body: str


class WebhookResult(WebhookFacts):
    """The decision on a callback, with the complete event and the complete reply."""

    detail: str | None
    """The reason why payctl cannot read a genuine callback; null otherwise. It never quotes the callback."""
    event: WrittenEvent | None
    reply: ReplyFacts
    """The exact reply to the gateway."""


@dataclass(frozen=True, slots=True)
class WebhookReport:
    """The decision on a callback, and the reply to the gateway.

    ``event`` is the new outbox event. With ``dry_run``, it is the event that would be written.
    """

    provider: str
    outcome: WebhookOutcome
    reason: str | None
    reply: Reply
    dry_run: bool
    payment_id: str | None = None
    order_code: str | None = None
    status_before: str | None = None
    status_after: str | None = None
    event: NewEvent | None = None
    receipt_id: str | None = None
    alert: Alert | None = None
    detail: str | None = None
    database_s: float | None = None
    """The seconds from the request for a connection to the end of the transaction; None without a transaction."""
    unindexed_payments: int = 0
    """If an index is missing, the approximate number of payments that a lookup reads; 0 if the index exists."""
    run_id: str | None = None
    """The id of the recorded run; None if the processing was not recorded."""
    unrecorded: Unrecorded | None = None
    """What could not be recorded about the run, or None."""

    @property
    def facts(self) -> WebhookFacts:
        """The decision, under the field names of the JSON output, the Lambda functions and the log."""
        return {
            "provider": self.provider,
            "outcome": self.outcome,
            "reason": self.reason,
            "payment_id": self.payment_id,
            "order_code": self.order_code,
            "status_before": self.status_before,
            "status_after": self.status_after,
            "event_id": self.event.id if self.event else None,
            "receipt_id": self.receipt_id,
            "alert": self.alert,
        }

    @property
    def result(self) -> WebhookResult:
        """The decision, the event and the reply, under the field names of process-webhook's JSON output."""
        reply = self.reply
        return {
            **self.facts,
            "detail": self.detail,
            "event": None if self.event is None else _written(self.event),
            "reply": {"status": reply.status, "headers": dict(reply.headers), "body": reply.body},
        }


def _written(event: NewEvent) -> WrittenEvent:
    return {
        "id": event.id,
        "event_type": event.event_type,
        "topic": TOPICS[event.event_type],
        "key": event.aggregate_id,
        "payload": dict(event.payload),
    }
