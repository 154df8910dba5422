"""Test the timeline and the verdict of `payctl show` with a real database and records in Kafka."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka.admin import AdminClient

from ticketbottle_payctl.broker.config import connection_config, producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import NotFoundError
from ticketbottle_payctl.jobs.order import Step, show
from ticketbottle_payctl.jobs.order.steps import in_order, steps_of
from ticketbottle_payctl.jobs.process_webhook import process_webhook
from ticketbottle_payctl.jobs.publish_outbox import OnDead, PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.replay import ReplayOptions, plan_replay, replay
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow
from ticketbottle_payctl.store.payments.receipt_rows import ReceiptRow

pytestmark = pytest.mark.postgres
CALLBACK = sample("zalopay")
MS = timedelta(milliseconds=1)
DATA = json.loads(json.loads(CALLBACK.request.body)["data"])


def timeline_of(engine, name, **more):
    """Return the timeline for an order code, or for the id of a payment, event or receipt."""
    return show(engine, name, max_retries=5, now=datetime.now(UTC), **more)


@pytest.fixture
def settled(engine):
    """Settle a payment with a callback. Return the payment and the callback's report."""
    with engine.begin() as connection:
        payment = insert_payment(connection, amount=DATA["amount"], reference=DATA["app_trans_id"])
    report = process_webhook(engine, CALLBACK.request, by_name("zalopay"), CALLBACK.credentials)
    return payment, report


def test_every_id_of_a_payment_shows_the_same_timeline(engine, settled, mock_kafka, read_all):
    """Every id of a payment leads to the same timeline. With Kafka, the timeline also contains the topic's record."""
    payment, report = settled
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    kafka = connection_config(KafkaSettings(mock_kafka.bootstrap))
    names = (payment.id, payment.order_code, payment.reference, report.event.id, report.receipt_id)
    timelines = [replace(timeline_of(engine, name), named_event=None) for name in names]
    assert all(timeline == timelines[0] for timeline in timelines)
    timeline = timeline_of(engine, payment.id, kafka=kafka)
    steps = timeline.steps
    assert [step for step in steps if step.kind != "record"] == list(timelines[0].steps)
    assert [step.kind for step in steps[:4]] == ["payment_created", "callback", "payment_settled", "event_written"]
    assert [step.at for step in steps[2:-1]] == sorted(step.at for step in steps[2:-1])
    assert [step.kind for step in steps[-2:]] == ["event_published", "record"]
    assert {step.kind for step in steps} == {
        "payment_created", "callback", "payment_settled", "event_written", "event_published", "record",
    }  # fmt: skip
    (message,) = read_all(mock_kafka.bootstrap)
    record = next(step for step in steps if step.kind == "record")
    assert (record.facts["topic"], record.facts["partition"], record.facts["offset"]) == (
        message.topic, message.partition, message.offset,
    )  # fmt: skip
    assert timeline.warnings == ()
    assert timeline.advice[0].command == f"payctl replay {report.event.id} --allow-published"


START = datetime(2026, 11, 29, 12, tzinfo=UTC)
PAYMENT = PaymentRow("p", "TB-1", "COMPLETED", 9, "VND", "MOMO", "r", START, START + MS, None, None)
SENT = ("e", "p", "PAYMENT_COMPLETED", "published", False, START + MS, START + 5 * MS, 0, None, {}, 2)
EVENT = EventRow(*SENT)
CAUSE = ReceiptRow(
    "c1",
    START + 2 * MS,
    "momo",
    "COMPLETED",
    "settled",
    None,
    9,
    "VND",
    None,
    "e",
    2,
    "POST",
    None,
    "p",
    "TB-1",
    "a transfer",
)
COPY = replace(CAUSE, id="c2", event_id=None, result="already_settled")


def record(milliseconds, run=None):
    """Return a record step at the given number of milliseconds after the start."""
    return Step(START + milliseconds * MS, "record", "e", {"replay_run_id": run})


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("settled_at", [0, 1, 2])
@pytest.mark.parametrize("received_at", [2, 3])
@pytest.mark.parametrize("sent_at", [2, 4, 5, 6])
def test_the_history_is_in_chronological_order(settled_at, received_at, sent_at, shuffled):
    """A history lists a cause before its effect, even if timestamps are equal or a few milliseconds out of order."""
    at = START + settled_at * MS
    payment, event = replace(PAYMENT, completed_at=at), replace(EVENT, created_at=at)
    receipts = tuple(replace(each, received_at=START + received_at * MS) for each in (CAUSE, COPY))
    found = History(payment, receipts, (event,), ())
    steps = [*steps_of(found), record(sent_at)]
    names = [
        step.id if step.kind == "callback" else step.kind for step in in_order(found, steps[:: -1 if shuffled else 1])
    ]
    assert names == [
        "payment_created", "c1", "payment_settled", "event_written", "c2", "event_published", "record"
    ]  # fmt: skip


def test_the_record_of_an_earlier_publication_stays_where_it_was():
    """In a history, only an event's latest Kafka record is listed after the event's last publication."""
    found = History(PAYMENT, (CAUSE,), (EVENT,), ())
    last = [(step.kind, step.at) for step in in_order(found, [*steps_of(found), record(4, "run"), record(3)])][-3:]
    assert last == [("record", START + 3 * MS), ("event_published", START + 5 * MS), ("record", START + 4 * MS)]


@pytest.mark.kafka
def test_the_first_copy_of_a_replayed_event_is_found(engine, kafka):
    """`payctl show` finds a replayed event's first copy in Kafka, even if it was sent hours before the replay."""
    sent_at = datetime.now(UTC) - timedelta(hours=3)
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(hours=3, seconds=1))
        insert_payments_of_events(connection)
        event, payment = connection.exec_driver_sql('SELECT id, "aggregateId" FROM outbox').one()
    settings = KafkaSettings(kafka.bootstrap)
    first = KafkaProducer({**connection_config(settings), "partitioner": "murmur2_random"})
    stamp = int(sent_at.timestamp() * 1000)
    first.produce("payment.completed", b"{}", payment, headers={"eventId": event}, timestamp=stamp)
    assert first.flush(20) == 0
    plan = plan_replay(engine, Selector(ids=(event,)), max_retries=5, allow_published=True)
    options = ReplayOptions(allow_published=True)
    replay(engine, plan, NewRun(str(uuid4()), "replay", Actor("me", "here")), options, max_retries=5)
    producer = Producer(producer_config(settings))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    timeline = timeline_of(engine, event, kafka=connection_config(settings))
    records = [step.facts["replay_run_id"] is not None for step in timeline.steps if step.kind == "record"]
    assert (records, timeline.warnings) == ([False, True], ())


def test_the_timeline_warns_if_a_published_event_has_no_record(engine, mock_kafka):
    """If a published event has no record in Kafka, the timeline of `payctl show` contains a warning."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        insert_payments_of_events(connection)
        payment = connection.exec_driver_sql("SELECT id FROM payments").scalar_one()
    timeline = timeline_of(engine, payment, kafka=connection_config(KafkaSettings(mock_kafka.bootstrap)))
    assert "never sent, or deleted by retention" in timeline.warnings[0]
    assert timeline.verdict.kind == "not_in_kafka"


def test_the_record_of_each_published_event_is_found(engine, mock_kafka):
    """`payctl show` searches the topics for each published event of a payment, and skips any unpublished event."""
    with engine.begin() as connection:
        insert_events(connection, 1, age=timedelta(minutes=9), state="dead")
        insert_events(connection, 3, aggregates=1)
        connection.exec_driver_sql("""UPDATE outbox SET "aggregateId" = 'one'""")
        dead = connection.exec_driver_sql('SELECT id FROM outbox WHERE "retryCount" > 0').scalar_one()
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    publish_outbox(engine, producer, PublishOptions(on_dead=OnDead.RELEASE))
    producer.close()
    timeline = timeline_of(engine, dead, kafka=connection_config(KafkaSettings(mock_kafka.bootstrap)))
    assert [step.kind for step in timeline.steps].count("record") == 3


@pytest.mark.kafka
def test_the_verdict_says_if_a_published_event_is_not_in_kafka(engine, kafka):
    """If a published event is not in Kafka, `payctl show` gives the verdict not_in_kafka and suggests a replay."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        insert_payments_of_events(connection)
        event, payment = connection.exec_driver_sql('SELECT id, "aggregateId" FROM outbox').one()
    timeline = timeline_of(engine, payment, kafka=connection_config(KafkaSettings(kafka.bootstrap)))
    assert (timeline.verdict.kind, timeline.verdict.mark) == ("not_in_kafka", "open")
    assert [each.command for each in timeline.advice] == [f"payctl replay {event} --allow-published"]


def test_the_timeline_is_shown_without_a_broker(engine, settled):
    """If the broker is unavailable, the timeline warns that Kafka was not searched, and shows all the other steps."""
    payment, _ = settled
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET published = true, "publishedAt" = "createdAt"')
    kafka = connection_config(KafkaSettings("127.0.0.1:1"))
    timeline = timeline_of(engine, payment.id, kafka=kafka)
    assert "were not searched" in timeline.warnings[0]
    assert len(timeline.steps) == 5


@pytest.mark.parametrize("state", ["dead", "published", None])
def test_an_advised_command_quotes_ids_and_order_codes_for_the_shell(engine, state):
    """Commands that `payctl show` suggests quote ids and order codes for the shell."""
    name = "TB $(reboot); 'x'"
    with engine.begin() as connection:
        status = "COMPLETED" if state else "PENDING"
        payment = insert_payment(connection, order_code=name, status=status, age=timedelta(hours=1))
        if state:
            insert_events(connection, 1, state=state)
            changed = 'UPDATE outbox SET id = %(id)s, "aggregateId" = %(payment)s'
            connection.exec_driver_sql(changed, {"id": name, "payment": payment.id})
    (advice,) = timeline_of(engine, name).advice
    assert name in shlex.split(advice.command)


def test_the_events_of_a_deleted_payment_are_shown(engine):
    """If a payment is not in this database, `payctl show` still shows the payment's events."""
    with engine.begin() as connection:
        insert_events(connection, 2, aggregates=1)
        event = connection.exec_driver_sql("SELECT id FROM outbox LIMIT 1").scalar_one()
    timeline = timeline_of(engine, event)
    assert (timeline.payment, len(timeline.steps)) == (None, 2)


def test_an_unknown_order_raises_not_found_error(engine):
    """Showing a name that does not belong to an order, a payment, an event or a receipt raises NotFoundError."""
    for name in ("nope", "'; --", "%", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(NotFoundError):
            timeline_of(engine, name)


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("commits", "kind", "readers", "behind"),
    [
        ({}, "unread", (), ()),
        ({"order-service": 1}, "published", ("order-service",), ()),
        ({"order-service": 0}, "unread", (), ("order-service",)),
        ({"order-service": 1, "reports": 0}, "published", ("order-service",), ("reports",)),
    ],
    ids=["nobody", "read", "not read yet", "read by one of two"],
)
def test_the_verdict_names_the_consumer_groups_that_have_read_the_record(
    engine, settled, kafka, commits, kind, readers, behind
):
    """The verdict of `payctl show` names the consumer groups that have read the record, and those that have not."""
    payment, _ = settled
    settings = KafkaSettings(kafka.bootstrap)
    producer = Producer(producer_config(settings))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    config = connection_config(settings)
    record = next(step for step in timeline_of(engine, payment.id, kafka=config).steps if step.kind == "record")
    place = (record.facts["topic"], record.facts["partition"])
    for group, offset in commits.items():
        client = Consumer({**config, "group.id": group})
        client.commit(offsets=[TopicPartition(*place, record.facts["offset"] + offset)], asynchronous=False)
        client.close()
    verdict = timeline_of(engine, payment.id, kafka=config).verdict
    try:
        assert (verdict.kind, verdict.readers, verdict.behind) == (kind, readers, behind)
    finally:
        admin = AdminClient(config)
        for future in admin.delete_consumer_groups(list(commits)).values() if commits else ():
            future.result(10)


def test_the_verdict_has_no_readers_if_the_brokers_list_no_groups(engine, settled, mock_kafka):
    """If the brokers list no consumer groups, the verdict of `payctl show` does not name any readers.

    The mock cluster cannot list groups, and a real broker lists none for a user without permission.
    """
    payment, _ = settled
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    publish_outbox(engine, producer, PublishOptions())
    producer.close()
    verdict = timeline_of(engine, payment.id, kafka=connection_config(KafkaSettings(mock_kafka.bootstrap))).verdict
    assert (verdict.kind, verdict.readers) == ("published", None)
