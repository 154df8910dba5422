"""``payctl reconcile outbox``: the published events of the outbox compared with the messages in Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer
from sqlalchemy import text

from tests.cli.output.test_schemas import check
from ticketbottle_payctl.broker.window import WindowQuery, read_window
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres

SENT = 5


@pytest.fixture
def world(database_url, kafka):
    """Return the settings of the test's database and of Apache Kafka.

    The mock cluster cannot look up offsets by time.
    """
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": kafka.bootstrap}


@pytest.fixture
def compare(answer, world):
    """Return a function that compares and returns the valid document."""

    def run(*arguments):
        document = answer("reconcile", "outbox", "--deadline", "20s", *arguments, **world)
        check(document)
        return document

    return run


@pytest.fixture
def published(engine, answer, world):
    """Publish five events with payctl. Return id, key and value of each, oldest first."""
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    with engine.begin() as connection:
        return connection.execute(
            text('SELECT id, "aggregateId", payload::text FROM outbox ORDER BY "createdAt", id')
        ).all()


@pytest.fixture
def send(kafka):
    """Return a function that sends a message of an event without payctl."""

    def put(event_id, key, value, *, topic="payment.completed", **headers):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
        producer.produce(topic, value, key, headers={"id": event_id, "eventId": event_id, **headers})
        assert producer.flush(10) == 0

    return put


def differences(document):
    """Return each difference with its event id."""
    return {(item["difference"], item["event_id"]) for item in document["items"]}


@pytest.mark.usefixtures("published")
def test_what_payctl_published_agrees(compare):
    """If the outbox and Kafka agree, the command finds no difference and exits with 0."""
    document = compare()
    assert (document["exit_code"], document["counts"]["compared"], document["items"]) == (0, SENT, [])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("state", ["published", "sent_unmarked"])
def test_what_is_not_in_kafka_is_lost(state, compare, engine, tmp_path):
    """A published event without a message is lost: the exit code is 5, and the repair file has its id."""
    with engine.begin() as connection:
        insert_events(connection, 1, state=state, age=timedelta(minutes=1))
        lost = connection.execute(text('SELECT id FROM outbox ORDER BY "createdAt" DESC LIMIT 1')).scalar_one()
    file = tmp_path / "ids"
    document = compare("--repair-out", str(file))
    assert (document["exit_code"], differences(document)) == (5, {("lost", lost)})
    assert [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")] == [lost]
    assert compare("--repair-out", str(file))["exit_code"] == 2


@pytest.mark.usefixtures("published")
def test_its_repair_is_a_replay_that_works(compare, answer, world, engine, tmp_path):
    """The printed repair command requeues the lost event."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(minutes=1))
    file = tmp_path / "ids"
    command = compare("--repair-out", str(file))["result"]["repair"].split()
    assert command[0] == "payctl"
    assert answer(*command[1:], "--yes", **world)["counts"]["requeued"] == 1
    assert answer("publish-outbox", **world)["counts"]["published"] == 1
    assert compare()["exit_code"] == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [({"value": "{}"}, "value"), ({"key": "another"}, "key"), ({"topic": "payment.failed"}, "topic")],
)
def test_another_value_key_or_topic_is_wrong(change, word, compare, published, send):
    """A message with another value, key or topic exits with 5, and the detail names the difference."""
    event_id, key, value = published[2]
    send(event_id, **{"key": key, "value": value, **change})
    document = compare()
    assert document["exit_code"] == 5
    assert ("wrong", event_id) in differences(document)
    assert word in next(item["detail"] for item in document["items"] if item["difference"] == "wrong")


def test_twice_is_said_and_allowed(compare, published, send):
    """A second copy is reported and exits with 0, because delivery is at least once.

    A replay's copy is not reported.
    """
    event_id, key, value = published[0]
    send(event_id, key, value, replayRunId="a-run")
    assert compare()["items"] == []
    send(event_id, key, value)
    document = compare()
    assert (document["exit_code"], differences(document)) == (0, {("double", event_id)})


def test_an_overtaken_event_is_out_of_order(compare, engine, send):
    """An event that was sent before an earlier event of its payment is reported as out of order."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published", aggregates=1, age=timedelta(minutes=1))
        earlier, later = connection.execute(
            text('SELECT id, "aggregateId", payload::text FROM outbox ORDER BY "createdAt", id')
        ).all()
    send(*later)
    send(*earlier)
    document = compare()
    assert (document["exit_code"], differences(document)) == (5, {("out_of_order", later[0])})


@pytest.mark.usefixtures("published")
def test_only_the_window_is_compared(compare):
    """Events that were created outside of the window are not compared, and neither are their messages."""
    document = compare("--since", "1m")
    assert (document["counts"]["compared"], document["counts"]["other"]) == (0, SENT)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_is_there_is_refused_before_kafka_is_read(answer, database_url, tmp_path, is_there):
    """An existing repair file exits with 2 at once and not after minutes of reading."""
    file = tmp_path / "ids"
    if is_there:
        file.touch()
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}
    assert answer("reconcile", "outbox", "--repair-out", str(file), **world)["exit_code"] == (2 if is_there else 4)


def test_records_of_other_events_are_not_kept(kafka, send):
    """Memory grows only with the compared events. Other messages are counted."""
    for number in range(10):
        send(f"event-{number}", "payment", "{}")
    told = []
    since = datetime.now(UTC) - timedelta(minutes=5)
    found = read_window(
        {"bootstrap.servers": kafka.bootstrap},
        WindowQuery(["payment.completed"], since, {"event-3"}),
        timedelta(seconds=20),
        on_progress=lambda *numbers: told.append(numbers),
    )
    assert ([copy.event_id for copy in found.copies], found.other, found.complete) == (["event-3"], 9, True)
    assert told[-1] == (10, 10)
