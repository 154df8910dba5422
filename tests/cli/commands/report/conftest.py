"""Insert the rows of a test night in plain SQL.

The night has an outage, dead events, refused callbacks and operators' runs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid5

import pytest

from ticketbottle_payctl.formats import rfc3339

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:b) ``c`` | d \"' \x1b[31m \u202eevil"
)
ACCOUNT = "accountNumber=0123456789012"
SPACE = UUID("5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d")

EVENT = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, published, "publishedAt", "createdAt",
        "retryCount", "lastError")
    VALUES (%(id)s, %(payment)s, 'payment', %(type)s, '{}', %(published)s, %(sent)s, %(made)s, %(tries)s, %(error)s)
"""
PAYMENT = """
    INSERT INTO payments (id, "orderCode", "amountCents", currency, provider, "providerTransactionId", "idempotencyKey",
        "redirectUrl", "paymentUrl", status, "createdAt", "updatedAt", "completedAt")
    VALUES (%(id)s, %(code)s, %(amount)s, 'VND', 'MOMO', %(id)s, %(id)s, '', '', CAST(%(status)s AS "PaymentStatus"),
        %(at)s, %(at)s, CASE %(status)s WHEN 'COMPLETED' THEN %(at)s::timestamp END)
"""
RECEIPT = """
    INSERT INTO payctl.webhook_receipts (id, received_at, provider, order_ref, reference, amount, currency, outcome,
        result, reason, method, path, query, body, body_sha256, payment_id, event_id)
    VALUES (%(id)s::uuid, %(at)s, 'momo', %(code)s, %(code)s, %(amount)s, 'VND', %(outcome)s,
        %(result)s, %(reason)s, %(method)s, '/webhook/momo', '', '', '', %(payment)s, %(event)s)
"""
RUN = """
    INSERT INTO payctl.runs (id, command, status, os_user, host, actor, reason, counts, started_at, finished_at)
    VALUES (%(id)s::uuid, %(command)s, %(status)s, 'ops', 'bastion', %(actor)s, %(reason)s, %(counts)s, %(start)s,
        %(end)s)
"""


class Story:
    """A writer of rows for a test night that starts at ``base`` (UTC). Each method inserts one row with a new id."""

    def __init__(self, connection, base):
        self.connection, self.base, self.number = connection, base, 0

    def id(self):
        """Return the next id."""
        self.number += 1
        return str(uuid5(SPACE, str(self.number)))

    def at(self, minutes):
        """Return the instant that is the given number of minutes after the start of the night."""
        return self.base + timedelta(minutes=minutes)

    def payment(self, minutes, status="COMPLETED", amount=250_000):
        """Insert a payment and return its id."""
        made = self.id()
        values = {"id": made, "code": f"TB-NIGHT-{self.number}", "amount": amount, "status": status}
        self.connection.exec_driver_sql(PAYMENT, values | {"at": self.at(minutes).replace(tzinfo=None)})
        return made

    def event(
        self, minutes, lag_s=None, *, payment=None, tries=0, error=None, event_type="PAYMENT_COMPLETED", sent=None
    ):
        """Insert an event and return its id. The event is published if ``lag_s`` or ``sent`` is given."""
        made = self.at(minutes)
        published = (
            made + timedelta(seconds=lag_s) if lag_s is not None else self.at(sent) if sent is not None else None
        )
        values = {
            "id": self.id(),
            "payment": payment or self.payment(minutes),
            "type": event_type,
            "published": published is not None,
            "sent": published and published.replace(tzinfo=None),
            "made": made.replace(tzinfo=None),
            "tries": tries,
            "error": error,
        }
        self.connection.exec_driver_sql(EVENT, values)
        return values["id"]

    def receipt(
        self, minutes, result, outcome="COMPLETED", *, reason=None, payment=None, event=None, code=None, method="POST"
    ):
        """Insert a receipt and return its id."""
        made = self.id()
        values = {"id": made, "at": self.at(minutes), "code": code or f"TB-NIGHT-R{self.number}", "amount": 90_000}
        values |= {
            "outcome": outcome,
            "result": result,
            "reason": reason,
            "payment": payment,
            "event": event,
            "method": method,
        }
        self.connection.exec_driver_sql(RECEIPT, values)
        return made

    def run(self, start, end, command="replay", status="done", **more):
        """Insert a run and return its id."""
        made = self.id()
        values = {"id": made, "command": command, "status": status, "actor": "Linh", "reason": "broker is back"}
        values |= {"counts": json.dumps({"requeued": 3, "skipped": 0}), "start": self.at(start)}
        values |= {"end": None if end is None else self.at(end)} | more
        self.connection.exec_driver_sql(RUN, values)
        return made


def new_story(connection):
    """Return a writer for a test night that started ten hours ago."""
    return Story(connection, (datetime.now(UTC) - timedelta(hours=10)).replace(second=0, microsecond=0))


@pytest.fixture
def story(engine):
    """Yield a writer for a test night that started ten hours ago. The test must commit."""
    with engine.connect() as connection:
        yield new_story(connection)


def night(story):
    """Insert the rows of the whole test night, with an outage of 40 minutes. Return the facts that the tests check."""
    for minute in range(0, 360, 3):
        down = 120 <= minute < 160
        story.event(minute, *(() if down else (0.2 + minute % 7,)), **({"sent": 161 + minute / 100} if down else {}))
    story.event(-30, sent=5)  # an event that was waiting when the window began
    story.event(-45, 1)  # an event that was published before the window
    dead = [story.event(200 + n, tries=5, error="MSG_SIZE_TOO_LARGE: 1234567 bytes") for n in range(3)]
    dead.append(story.event(210, tries=6, error=f"{HOSTILE} {ACCOUNT}"))
    dead.append(story.event(215, tries=5, error="unknown event type", event_type="SOMETHING_ELSE"))
    pending = [story.event(340), story.event(500, tries=2, error="KafkaError: timed out")]
    lost = story.payment(130, amount=700_000)
    cleaned = story.payment(135)
    story.receipt(135, "settled", payment=cleaned, event=story.id())
    for minute in (10, 20, 30):
        story.receipt(minute, "settled", payment=story.payment(minute, "FAILED"), event=story.id(), outcome="FAILED")
    asked = story.payment(40, "FAILED")
    story.receipt(41, "settled", "FAILED", payment=asked, event=story.id(), method="RECONCILE")
    story.receipt(42, "refused", "FAILED", reason="wrong_amount", payment=asked, method="RECONCILE")
    unpaid = story.payment(50, "PENDING")
    first = story.receipt(55, "refused", reason="wrong_amount", payment=unpaid)
    story.receipt(56, "refused", reason="wrong_amount", payment=unpaid)
    paid = story.payment(60)
    story.receipt(61, "refused", reason="wrong_amount", payment=paid)
    story.event(60, 1, payment=paid)
    story.receipt(100, "refused", reason=HOSTILE)
    story.receipt(250, "refused", "FAILED", reason="unknown_order")
    last = story.receipt(300, "refused", "UNCLEAR", reason="unreadable", code=HOSTILE)
    runs = [
        story.run(150, 158),
        story.run(165, None, status="interrupted", actor=None, reason=f"{HOSTILE} {ACCOUNT}"),
        story.run(-20, 3, "cleanup", counts=json.dumps({"deleted": 12})),
        story.run(-60, -50, "reconcile payments"),
    ]
    return SimpleNamespace(
        since=story.base, until=story.at(540), dead=dead, pending=pending, lost=lost, runs=runs, first=first, last=last
    )


@pytest.fixture
def told(story):
    """Insert and commit the rows of the whole test night. Return the facts that the tests check."""
    facts = night(story)
    story.connection.commit()
    return facts


def window(told):
    """Return the options --since and --until for the test night."""
    return ["--since", rfc3339(told.since), "--until", rfc3339(told.until)]


@pytest.fixture
def asked(ask, told):
    """Return the JSON document of the report on the test night."""
    return ask("report", *window(told))
