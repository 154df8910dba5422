"""Find every log event in the code, with its name, levels, fields and writers.

This file contains the events' meanings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ticketbottle_payctl.aws.alerts import Pointer
from ticketbottle_payctl.domain.decision_fields import WebhookOutcome
from ticketbottle_payctl.jobs.process_webhook.report import WebhookFacts
from ticketbottle_payctl.jobs.publish_outbox.facts import PublishFacts
from ticketbottle_payctl.jobs.publish_outbox.obstacles import Obstacles
from ticketbottle_payctl.metrics import Function

ROOT = Path(__file__).parents[1]

MEANINGS = {
    "alert_not_sent": "A message to the SNS topic could not be sent.",
    "approved": "An operator confirmed a change. The `act` field describes the change.",
    "before_traffic": "The result of checking a new webhook version before it gets callbacks.",
    "before_traffic_error": "The new version of the webhook failed when it got a forged callback.",
    "cleanup_failed": "The cleanup function failed.",
    "before_traffic_failed": "The function that checks a new version failed.",
    "dead_event_not_sent": "A message about a dead event could not be sent to the SQS queue.",
    "event_dead": "An event has just become dead.",
    "outbox_dead_events": "The cleanup found dead events, with their reasons. The age leaves out harmless events.",
    "outbox_late_events": "The cleanup found events that have been pending for too long.",
    "payment_reconciled": "`reconcile-payments` tried to settle a payment. The `outcome` field contains the result.",
    "payos_sdk_raised": "PayOS's library raised an error, which payctl converts to its own error.",
    "probe": "The webhook's reply to one forged callback from the `probe` function.",
    "probe_failed": "The `probe` function failed.",
    "publish_outbox_batch": "The publisher has committed a batch.",
    "publish_outbox_ended": "The publisher has ended, or a tick of its function has ended.",
    "publish_outbox_failed": "The publisher's function failed.",
    "publish_outbox_heartbeat": "The publisher is running. payctl logs this event every half minute.",
    "publish_outbox_ready": "The publisher has started.",
    "publish_outbox_resumed": "No event is blocked any more.",
    "publish_outbox_settling": (
        "A claim of this shard was interrupted, so its messages may still be on their way. The publisher waits."
    ),
    "publish_outbox_too_many_failed": (
        "The publisher cannot remember all failed events."
        " A failed event that the publisher has forgotten blocks no other events."
    ),
    "publish_outbox_waiting": "Some events have become blocked. The fields name the causes.",
    "reconcile_for_a_person": "The `reconcile-payments` function found a payment that needs manual review.",
    "reconcile_payments": "The result of one tick of the `reconcile-payments` function.",
    "reconcile_payments_failed": "The `reconcile-payments` function failed.",
    "reconcile_unanswered": "A gateway sent no response about a payment, or a response that payctl cannot use.",
    "replay_canary_waiting": "A replay is waiting until its first events are published.",
    "run_not_recorded": "A command did its work, but its run could not be recorded in `payctl.runs`.",
    "secret_not_renewed": "Secrets Manager could not be read. payctl keeps the old value.",  # pragma: allowlist secret
    "tracing_is_off": "The settings turn spans on, but the exporter cannot be used.",
    "watch_payments_failed": "The `watch-payments` function failed.",
    "webhook_already_settled": "A genuine callback arrived for an already settled payment. payctl changed nothing.",
    "webhook_failed": 'The webhook could not process a callback, and answered "try again".',
    "webhook_ignored": "A genuine callback arrived that needs no change.",
    "webhook_index_missing": "`payments` has no index for PayOS's callbacks. payctl logs this event once a day.",
    "webhook_not_a_callback": "A request arrived that is not a callback. The `status` field is 400, 404 or 413.",
    "webhook_not_prepared": "The webhook could not prepare for its first callback.",
    "webhook_probed": "The webhook refused a forged callback from the `probe` function.",
    "webhook_refused": "payctl refused a callback. The `reason` field says why.",
    "webhook_settled": "A callback settled its payment.",
    "webhook_test_ping": "A gateway tested the webhook's address.",
}

_NAMES = {
    "webhook_{report.outcome}": [f"webhook_{outcome}" for outcome in WebhookOutcome],
    "{function.value}_failed": [f"{function}_failed" for function in Function],
}
_SPREAD: dict[str, Iterable[str]] = {
    **dict.fromkeys(_NAMES["webhook_{report.outcome}"], WebhookFacts.__annotations__),
    "event_dead": Pointer._fields,
    "publish_outbox_ended": PublishFacts.__annotations__,
    "publish_outbox_waiting": Obstacles().facts,
}
"""The fields in each mapping that the code passes to ``log_event`` as ``**mapping``."""


_ORDER = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class LogEvent:
    """A log event, with the levels, the fields, and the files that write the event."""

    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]
    writers: tuple[str, ...]
    meaning: str


class NotDescribedError(Exception):
    """A log event in the code has no meaning in this file, or a meaning in this file has no log event in the code."""


def events() -> list[LogEvent]:
    """Return every log event, sorted by name.

    Raises:
        NotDescribedError: the events in the code and in ``MEANINGS`` differ.
    """
    found: dict[str, list[tuple[str, ast.Call]]] = {}
    for writer, call in _calls():
        for name in _names(call.args[0]):
            found.setdefault(name, []).append((writer, call))
    if found.keys() != MEANINGS.keys():
        message = f"MEANINGS in docs/log_events.py and the code differ in {sorted(found.keys() ^ MEANINGS.keys())}"
        raise NotDescribedError(message)
    return [_event(name, found[name]) for name in sorted(found)]


def _event(name: str, calls: list[tuple[str, ast.Call]]) -> LogEvent:
    levels = {level for _, call in calls for level in _levels(call)}
    fields = dict.fromkeys(each for _, call in calls for each in _fields(name, call))
    writers = dict.fromkeys(writer for writer, _ in calls)
    return LogEvent(name, tuple(sorted(levels, key=_ORDER.index)), tuple(fields), tuple(writers), MEANINGS[name])


def _fields(name: str, call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from _SPREAD[name]
        elif keyword.arg == "error":
            yield "exception"
        elif keyword.arg != "level":
            yield keyword.arg


def _calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call to ``log_event``, with the path of the file that contains the call."""
    for package in ("lambda_entrypoints", "ticketbottle_payctl"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "log_event":
                    yield file.relative_to(ROOT).as_posix(), node


def _names(node: ast.expr) -> list[str]:
    """Return all values that the first argument can have."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    pattern = ast.unparse(node).removeprefix("f").strip("'\"")
    if pattern not in _NAMES:
        message = f"the name of a log event is {pattern}, which docs/log_events.py cannot expand"
        raise NotDescribedError(message)
    return _NAMES[pattern]


def _levels(call: ast.Call) -> list[str]:
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "level"), ast.Constant("info"))
    if isinstance(given, ast.Name):
        return ["info", "error"]  # the level of the webhook's events depends on the alert
    found = {node.value for node in ast.walk(given) if isinstance(node, ast.Constant)}
    return [level for level in _ORDER if level in found]
