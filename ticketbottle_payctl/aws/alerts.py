"""Report problems. The id of each newly dead event is sent to an SQS queue, and alerts are sent to an SNS topic.

The queue and the topic are optional, because the database contains the state of every event. If a message cannot be
sent, payctl counts and logs the failure, and the job continues. Messages never contain payloads, account numbers or
names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ticketbottle_payctl.aws.client import make_client
from ticketbottle_payctl.logs import log_event
from ticketbottle_payctl.redaction import redact

SHORTEST_BETWEEN = 300.0
"""The minimum time in seconds between two alerts of the same kind from one process.

The next alert says how many alerts were suppressed.
"""

EVENT_DEAD = "event_dead"

MEANINGS = {
    "late_money": "A customer paid after the payment had failed or was cancelled. The order may already be cancelled.",
    "wrong_amount": "A genuine callback and its payment have different amounts. payctl changed nothing.",
    "unknown_order": "A genuine callback arrived for an unknown payment. The customer's order may not exist.",
    "contradicts_completed": "The gateway reports that a completed payment failed. payctl changed nothing.",
    "unknown_status": "The payment has a status that payctl does not recognise. payctl changed nothing.",
    "money_held": "The gateway received the money and blocked it as suspicious. A person must decide in its portal.",
    "second_payment": "A customer paid twice for one order. A person must refund the second transfer.",
    "undocumented_code": "A gateway sent a code that its documentation does not list. payctl changed nothing.",
    "unreadable": "A callback is genuine, but payctl cannot read it. Run payctl reconcile payments.",
    "ambiguous": "The signed text of a callback has two possible meanings. Run payctl reconcile payments.",
    EVENT_DEAD: "Events are out of retries, and stay in the outbox. Customers may have paid without getting tickets.",
}
"""The explanation of each kind of alert. The runbook has a section on each kind."""

_MOST_IN_A_BATCH = 10  # SQS accepts at most this many messages in one request


class Pointer(NamedTuple):
    """The id of a dead event and the code of its error, without the event's content."""

    event_id: str
    aggregate_id: str
    event_type: str
    attempts: int
    error_class: str

    @property
    def body(self) -> str:
        """Return the message's text. Consumers can recognise duplicates by ``eventId``."""
        return json.dumps(
            {
                "eventId": self.event_id,
                "aggregateId": self.aggregate_id,
                "eventType": self.event_type,
                "attempts": self.attempts,
                "errorClass": self.error_class,
            }
        )


def quick_client(service: str) -> Any:  # noqa: ANN401 - botocore has no types
    """Return a client that gives up after three seconds, because a gateway waits for the reply."""
    return make_client(service, connect_s=1, read_s=2, tries=1)


class DeadEventQueue:
    """The SQS queue for dead events, as one run uses it.

    After a failed request, no more requests are sent, so that the run does not wait for them.
    """

    def __init__(self, url: str | None, *, client: Callable[[str], Any] = quick_client) -> None:
        self._url = url
        self._make_client = client
        self._client: Any = None
        self.failed = 0

    def send(self, pointers: Sequence[Pointer]) -> None:
        """Send pointers to dead events. Call this only after the events' new state is committed.

        ``failed`` counts the pointers that were not sent.
        """
        if self._url is None:
            return
        for start in range(0, len(pointers), _MOST_IN_A_BATCH):
            batch = pointers[start : start + _MOST_IN_A_BATCH]
            self.failed += len(batch) if self.failed else self._not_sent(batch)

    def _not_sent(self, batch: Sequence[Pointer]) -> int:
        entries = [{"Id": str(number), "MessageBody": pointer.body} for number, pointer in enumerate(batch)]
        try:
            self._client = self._client or self._make_client("sqs")
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except Exception as error:  # noqa: BLE001 - the events are dead in any case, and the job continues
            log_event("dead_event_not_sent", level="error", events=len(batch), reason=type(error).__name__)
            return len(batch)
        refused = answer.get("Failed", [])
        if refused:
            codes = sorted({str(entry.get("Code")) for entry in refused})
            log_event("dead_event_not_sent", level="error", events=len(refused), reason=", ".join(codes))
        return len(refused)


class AlertTopic:
    """A client that sends alerts to the SNS topic, at most one of each kind in five minutes.

    ``clock`` is the wall clock, because the monotonic clock can stop while a function is frozen.
    """

    def __init__(
        self,
        arn: str | None,
        *,
        env: str,
        client: Callable[[str], Any] = quick_client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._arn = arn
        self._env = env
        self._make_client = client
        self._client: Any = None
        self._clock = clock
        self._tried: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def tell(self, kind: str, **facts: object) -> bool:
        """Publish an alert of a kind from :data:`MEANINGS`. Return False if a due alert cannot be sent.

        The minimum time between alerts also applies after a failure, so that an unavailable topic does not delay
        callbacks.
        """
        if self._arn is None:
            return True
        now, last = self._clock(), self._tried.get(kind)
        if last is not None and abs(now - last) < SHORTEST_BETWEEN:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return True
        self._tried[kind] = now
        try:
            self._client = self._client or self._make_client("sns")
            self._client.publish(
                TopicArn=self._arn,
                Subject=f"[payctl {self._env}] {kind}"[:100],
                Message=self._message(kind, facts),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in self._attributes(kind)
                },
            )
        except Exception as error:  # noqa: BLE001 - the callback is settled in any case, and the log has the alert
            log_event("alert_not_sent", level="error", kind=kind, reason=type(error).__name__)
            return False
        self._left_out.pop(kind, None)
        return True

    def _attributes(self, kind: str) -> list[tuple[str, str]]:
        return [("kind", kind), ("env", self._env)]

    def _message(self, kind: str, facts: dict[str, object]) -> str:
        lines = [MEANINGS[kind], "", f"kind: {kind}", f"environment: {self._env}"]
        lines += [f"{name}: {' '.join(str(value).split())}" for name, value in facts.items() if value is not None]
        left_out = self._left_out.get(kind)
        if left_out:
            lines.append(f"left out since the last message of this kind: {left_out}")
        return redact("\n".join([*lines, "", f"What to do: see {kind} in the runbook."]))
