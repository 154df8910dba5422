"""Test that alerts in SNS and messages in SQS do not contain a key, account number, name or stored password."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

from lambda_entrypoints import cleanup, publish_outbox, webhook
from tests.lambda_entrypoints import events
from tests.security.canaries import IDENTIFIERS, Canaries
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment, insert_events

CANARIES = Canaries()
KEYS = {name: value if name in IDENTIFIERS else CANARIES.letters(name) for name, value in environment().items()}
ACCOUNTS = {
    "accountNumber": CANARIES.number("account of the shop"),
    "counterAccountNumber": CANARIES.number("account of the customer", 16),
    "counterAccountName": CANARIES.letters("account holder"),
    "description": CANARIES.letters("words of the customer"),
}
HOLDER = CANARIES.letters("holder in a payload")
STORED = CANARIES.letters("password in a stored error")


def from_payos(payment, scenario):
    """Return the event for a PayOS callback that contains the customer's account."""
    data = json.loads(callback(payment, scenario, KEYS).body)["data"] | ACCOUNTS
    return events.http_event(signing.payos(data, KEYS["PAYOS_CHECKSUM_KEY"]))


def test_no_alert_and_no_pointer_has_a_part_of_a_secret(called, shop, engine, cloud, database_url, mock_kafka):
    """Alerts and pointers to dead events do not contain even part of a secret."""
    (arn, alerts), queue = cloud.topic(), cloud.queue()
    environ = {
        **KEYS,
        "DATABASE_URL": database_url,
        "KAFKA_BROKERS": mock_kafka.bootstrap,
        "PAYCTL_LOOP_SECONDS": "0",
        "PAYCTL_ALERTS_TOPIC_ARN": arn,
        "PAYCTL_DEAD_EVENTS_QUEUE_URL": queue,
    }
    cases = ((Scenario.WRONG_AMOUNT, "PENDING"), (Scenario.PAID, "CANCELLED"), (Scenario.FAILED, "COMPLETED"))
    for scenario, status in cases:
        called(webhook.handler, from_payos(shop.payment("payos", status=status), scenario), **environ)
    elsewhere = SandboxPayment(str(uuid4()), "TB-TEST-20261123-UNKNOWN1", 250_000, "PAYOS", uuid4().hex)
    sent = from_payos(elsewhere, Scenario.PAID)
    called(webhook.handler, sent, **environ)
    with engine.begin() as connection:
        insert_events(connection, 3, event_type="PAYMENT_UNHEARD_OF")
        error = f"connect postgresql://shop:{STORED}@db/payments failed, password={STORED}"
        insert_events(connection, 2, state="dead", last_error=error, age=timedelta(hours=2))
        connection.exec_driver_sql("UPDATE outbox SET payload = payload || %s", (json.dumps({"holder": HOLDER}),))
    called(publish_outbox.handler, events.read("scheduler-publish-outbox.json"), **environ)
    called(cleanup.handler, events.read("scheduler-cleanup.json"), **environ)
    told, pointers = cloud.messages(alerts), cloud.messages(queue)
    kinds = {message["Subject"].rpartition(" ")[2] for message in told}
    assert kinds == {"wrong_amount", "late_money", "contradicts_completed", "unknown_order", "event_dead"}
    assert len(pointers) == 3
    assert {kind: CANARIES.seen_in(json.dumps(found)) for kind, found in (("SNS", told), ("SQS", pointers))} == {
        "SNS": set(),
        "SQS": set(),
    }
