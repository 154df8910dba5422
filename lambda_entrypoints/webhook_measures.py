"""Convert a callback's report into metrics, log lines and messages. All three contain only ids and counts."""

from __future__ import annotations

from lambda_entrypoints.warm import Warm
from ticketbottle_payctl.domain.callback import RejectReason, UnclearReason
from ticketbottle_payctl.domain.settlement import RefusalReason
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, WebhookReport
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.metrics import Amount

ACCEPTED = {
    WebhookOutcome.SETTLED: "WebhookAccepted",
    WebhookOutcome.ALREADY_SETTLED: "WebhookDuplicate",
    WebhookOutcome.TEST_PING: "WebhookAccepted",
    WebhookOutcome.IGNORED: "WebhookAccepted",
}
REFUSED = {
    RejectReason.SIGNATURE.value: "WebhookRejectedSignature",
    RejectReason.OTHER_MERCHANT.value: "WebhookRejectedSignature",
    RejectReason.MALFORMED.value: "WebhookMalformed",
    RejectReason.NOT_CONFIGURED.value: "WebhookNotConfigured",
    UnclearReason.UNREADABLE.value: "WebhookUnreadable",
    UnclearReason.AMBIGUOUS.value: "WebhookUnreadable",
    RefusalReason.WRONG_AMOUNT.value: "WebhookRejectedAmount",
    RefusalReason.UNKNOWN_ORDER.value: "WebhookUnknownOrder",
    RefusalReason.OTHER_PROVIDER.value: "WebhookUnknownOrder",
    RefusalReason.CONTRADICTS_COMPLETED.value: "WebhookDuplicate",
    RefusalReason.UNKNOWN_STATUS.value: "WebhookDuplicate",
}
"""The counter for each reason for refusing a callback. A test checks every outcome and reason."""

_INDEX_HINT = 'payments has no index on "providerTransactionId": payctl doctor --only reference-index shows the SQL'

COUNTED_AS_REFUSED = {
    "WebhookRejectedSignature",
    "WebhookMalformed",
    "WebhookUnreadable",
    "WebhookRejectedAmount",
    "WebhookUnknownOrder",
}
"""The counters that add up to ``WebhookRefused``. If their share is high, payctl may be refusing genuine callbacks."""


def note_probe(report: WebhookReport, seconds: float) -> None:
    """Log a forged callback from payctl's own probe.

    The probe's callback does not count as a callback, so it cannot trigger an alarm.
    """
    log_event("webhook_probed", duration_ms=round(seconds * 1000, 3), provider=report.provider, reason=report.reason)


def tell(warm: Warm, report: WebhookReport, seconds: float, correlation_id: str | None) -> dict[str, Amount]:
    """Log a callback, send an alert if an operator must look at it, and return the metrics."""
    facts, alert = report.facts, report.alert
    level = "error" if alert else "info"
    log_event(f"webhook_{report.outcome}", level=level, duration_ms=round(seconds * 1000, 3), **facts)
    if report.unindexed_payments and warm.once_a_day("webhook_index_missing"):
        log_event("webhook_index_missing", level="warning", payments=report.unindexed_payments, hint=_INDEX_HINT)
    counter = ACCEPTED.get(report.outcome) or REFUSED[report.reason or ""]
    amounts: dict[str, Amount] = {"WebhookReceived": 1, counter: 1}
    if counter in COUNTED_AS_REFUSED:
        amounts["WebhookRefused"] = 1
    if report.database_s is not None:
        amounts["DbLatency"] = round(report.database_s * 1000, 3)
    if alert is not None:
        amounts["WebhookMoneyAlert"] = 1
        told = {name: value for name, value in facts.items() if name != "alert"}  # the first argument names the alert
        amounts["AlertFailed"] = int(not warm.topic.tell(alert, **told, correlation_id=correlation_id))
    return amounts
