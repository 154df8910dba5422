"""``payctl reconcile outbox``: the published events of the outbox compared with the messages in Kafka."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions
from sqlalchemy import text

from tests.cli.output.test_schemas import check
from ticketbottle_payctl.broker import window
from ticketbottle_payctl.broker.partition import partition_of
from ticketbottle_payctl.broker.range_reader import RangeReader
from ticketbottle_payctl.broker.window import WindowQuery, read_window
from ticketbottle_payctl.cli.commands.reconcile.outbox_result import unchanged
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.reconcile.compare_outbox import Difference, Disagreement, OutboxComparison
from ticketbottle_payctl.jobs.replay import plan_replay
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.published import created_between
from ticketbottle_payctl.store.outbox.selector import Selector

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


@pytest.fixture
def lose(engine):
    """Write events that the outbox calls published, and send nothing: their ids."""

    def insert(count=1, **columns):
        with engine.begin() as connection:
            before = set(connection.execute(text("SELECT id FROM outbox")).scalars())
            insert_events(connection, count, state="published", **columns)
            return sorted(set(connection.execute(text("SELECT id FROM outbox")).scalars()) - before)

    return insert


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("state", ["published", "sent_unmarked"])
def test_what_is_not_in_kafka_is_lost(state, compare, engine, lose):
    """Exit 5; rows that the replaced service left half marked count as sent."""
    (lost,) = lose()
    if state == "sent_unmarked":
        with engine.begin() as connection:
            connection.execute(text("UPDATE outbox SET published = false WHERE id = :id"), {"id": lost})
    document = compare()
    assert (document["exit_code"], differences(document)) == (5, {("lost", lost)})
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (1, None)


def advice(page):
    """The command that the page advises, as it is pasted, and the last line."""
    lines = page.splitlines()
    after = next(number for number, line in enumerate(lines) if line.startswith("repair:"))
    payctl, *command = shlex.split(lines[after + 1])
    assert payctl == "payctl"
    return command, lines[-1]


@pytest.mark.usefixtures("published")
def test_pasted_advice_sends_what_is_lost_and_nothing_that_is_there(
    invoke, answer, world, lose, kafka, read_all, tmp_path, monkeypatch
):
    """Pasted again and again, every event is in its topic once; what another operator sent meanwhile is left out."""
    monkeypatch.chdir(tmp_path)
    lost = lose(3)
    page = invoke("reconcile", "outbox", **world).stdout
    command, verdict = advice(page)
    assert verdict.startswith("✘")
    assert "3 lost" in verdict
    command, _ = advice(invoke(*command, **world).stdout)
    assert answer("replay", lost[0], "--allow-published", "-y", **world)["counts"]["requeued"] == 1
    for requeued in (2, 0, 0):
        assert answer(*command, "--yes", **world)["counts"]["requeued"] == requeued
        answer("publish-outbox", **world)
    sent = Counter(record.text("eventId") for record in read_all(kafka.bootstrap))
    assert (len(sent), set(sent.values())) == (SENT + 3, {1})
    last = invoke("reconcile", "outbox", **world).stdout.splitlines()
    assert (len(last), last[0][0], invoke("reconcile", "outbox", **world).exit_code) == (1, "✔", 0)


@pytest.mark.usefixtures("published")
def test_pasted_advice_passes_the_guard_of_the_profile(invoke, answer, world, lose, tmp_path, monkeypatch):
    """A protected profile with a low cap: the command names profile, file, reason and number of events."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.prod]\n{values}[profiles.prod.guard]\nprotected = true\nmax_affected = 1\n", "utf-8")
    file.chmod(0o600)
    lose(2)
    command, _ = advice(invoke("reconcile", "outbox", "-p", "prod", "--config", str(file)).stdout)
    command, _ = advice(invoke(*command).stdout)
    assert answer(*command, "--yes")["counts"]["requeued"] == 2


@pytest.mark.usefixtures("published")
def test_a_read_only_profile_is_advised_no_replay(invoke, answer, world, lose, tmp_path):
    """Its guard would refuse the replay, so the page names the guard instead of a command."""
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.replica]\n{values}guard.read_only = true\n", "utf-8")
    lose()
    profile = ["-p", "replica", "--config", str(file)]
    page = invoke("reconcile", "outbox", *profile)
    assert ("payctl replay" in page.stdout, "profile replica is read-only" in page.stdout) == (False, True)
    assert answer("reconcile", "outbox", *profile)["result"]["repair"] is None


@pytest.mark.usefixtures("published")
def test_an_event_that_was_sent_again_before_the_plan_was_made_is_not_in_the_plan(lose, engine, answer, world):
    """The row has changed since it was compared, whatever it looks like now."""
    ids = lose(2)
    with transaction(engine, Limits(), commit=False) as connection:
        now = datetime.now(UTC)
        compared = list(created_between(connection, now - timedelta(hours=1), now + timedelta(hours=1), 100))
    lost = [Disagreement(each, Difference.LOST, "", 0, repairable=True) for each in compared if each.id in ids]
    answer("replay", ids[0], "--allow-published", "-y", **world)
    answer("publish-outbox", **world)
    plan = plan_replay(engine, Selector(ids=tuple(ids)), max_retries=5, allow_published=True)
    left = unchanged(plan, OutboxComparison(2, (), 0, complete=True, disagreements=lost))
    assert ({event.row.id for event in plan.events}, [event.row.id for event in left.events]) == (set(ids), ids[1:])


@pytest.mark.usefixtures("published")
def test_a_superseded_event_is_not_advised_to_be_sent_again(compare, invoke, world, engine, lose, tmp_path):
    """Its payment is COMPLETED now: the order service would release paid tickets. It is lost all the same."""
    (lost,) = lose(event_type="PAYMENT_FAILED")
    with engine.begin() as connection:
        insert_events(connection, 1, event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.execute(text("UPDATE payments SET status = 'COMPLETED', \"completedAt\" = now()"))
    assert invoke("publish-outbox", **world).exit_code == 0
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert differences(document) == {("lost", lost)}
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (0, None)
    page = invoke("reconcile", "outbox", **world).stdout
    assert ("repair:" in page, "1 superseded event" in page) == (False, True)


def test_the_page_is_short_and_ends_with_the_verdict(invoke, published, lose, world):
    """Ten rows, then how many more there are; --all shows every row and column. A program gets all of them."""
    assert len(published) == SENT
    lost = lose(14)
    short = invoke("reconcile", "outbox", **world)
    assert sum(each in short.stdout for each in lost) == 10
    assert "and 4 more" in short.stdout
    assert short.stdout.splitlines()[-1].startswith("✘")
    every = invoke("reconcile", "outbox", "--all", **world).stdout
    assert sum(each in every for each in lost) == 14
    assert ("PAYMENT_COMPLETED" in short.stdout, "PAYMENT_COMPLETED" in every) == (False, True)


def trim(kafka, _world):
    """Retention deletes everything."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    places = [TopicPartition("payment.completed", number, -1) for number in range(3)]
    for future in admin.delete_records(places).values():
        future.result(10)


def recreate(kafka, _world):
    """The topic is deleted and created again."""
    kafka.recreate_topics(["payment.completed"])


def delete(kafka, _world):
    """The topic is deleted."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in admin.delete_topics(["payment.completed"], operation_timeout=30).values():
        future.result(30)


def transact(kafka, _world):
    """A transaction leaves offsets without a record in every partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "test-reconcile"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(3):
        producer.produce("payment.completed", b"{}", partition=number)
    producer.commit_transaction(30)
    wait_until(lambda: _ends(kafka) >= SENT + 6, what="the markers of the transaction", timeout=10)


def _ends(kafka):
    with RangeReader({"bootstrap.servers": kafka.bootstrap}, "payctl-test", 5) as reader:
        return sum(end for _, end in reader.bounds(reader.places("payment.completed")).values())


NOT_JUDGED = [
    (trim, "too_old", SENT + 1), (recreate, "topic_empty", SENT + 1), (delete, "topic_missing", SENT + 1),
    (transact, "gaps", 1),
]  # fmt: skip


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(("happens", "reason", "events"), NOT_JUDGED, ids=lambda each: getattr(each, "__name__", each))
def test_what_kafka_cannot_show_any_more_is_not_called_lost(
    happens, reason, events, compare, kafka, world, lose, invoke, tmp_path
):
    """Exit 6, the mark that warns, and no advice to send anything again."""
    lose()
    happens(kafka, world)
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert (document["exit_code"], document["items"]) == (6, [])
    assert (document["counts"]["unjudged"], document["result"]["not_judged"]) == (events, {reason: events})
    assert len(compare("--all")["items"]) == events
    page = invoke("reconcile", "outbox", **world).stdout
    assert page.splitlines()[-1].startswith("!")
    assert "repair:" not in page


def test_records_behind_an_open_transaction_are_not_called_lost(compare, engine, answer, world, kafka):
    """Consumers do not see them yet; once the transaction has ended they are found."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "test-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(3):
        producer.produce("payment.completed", b"{}", partition=number)
    producer.flush(10)
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    document = compare()
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"open_transaction": SENT})
    producer.abort_transaction(30)
    wait_until(lambda: _ends(kafka) >= SENT + 6, what="the markers of the transaction", timeout=10)
    assert compare()["exit_code"] == 0


@pytest.mark.usefixtures("published")
def test_partitions_that_were_added_hide_nothing(compare, kafka, lose):
    """The events of before are found where they were sent, and one that is missing there is lost."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions("payment.completed", 12)])["payment.completed"].result(10)
    wait_until(lambda: _partitions(kafka) == 12, what="the new partitions", timeout=10)
    assert compare()["exit_code"] == 0
    lost = lose()
    assert differences(compare()) == {("lost", each) for each in lost}
    trim(kafka, None)
    document = compare()
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"too_old": SENT + 1})


def _partitions(kafka):
    with RangeReader({"bootstrap.servers": kafka.bootstrap}, "payctl-test", 5) as reader:
        return len(reader.places("payment.completed"))


@pytest.fixture
def blind(answer, engine, database_url, mock_kafka):
    """Brokers that cannot look up offsets by time, with five events published to them."""
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    with engine.begin() as connection:
        insert_events(connection, SENT, age=timedelta(minutes=2))
    assert answer("publish-outbox", **world)["counts"]["published"] == SENT
    return world


def test_brokers_that_cannot_look_up_by_time_are_read_from_the_oldest_record(blind, answer, lose):
    """What is there is found, and what is not there is lost."""
    assert answer("reconcile", "outbox", **blind)["exit_code"] == 0
    lost = lose()
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], differences(document)) == (5, {("lost", each) for each in lost})


@pytest.mark.usefixtures("blind")
def test_more_records_than_are_read_without_a_lookup_are_not_judged(blind, answer, mock_kafka, monkeypatch):
    """Only the last records of a partition are read; an event before them may be there."""
    monkeypatch.setattr(window, "_MOST", 1)
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for number in range(12):
        producer.produce("payment.completed", b"{}", partition=number % 3)
    assert producer.flush(10) == 0
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"record_limit": SENT})


def test_a_partition_without_a_leader_leaves_its_events_unjudged_and_the_others_judged(
    blind, answer, mock_kafka, engine
):
    """Exit 6 instead of a failure: the other partitions are read."""
    with engine.begin() as connection:
        insert_events(connection, 30)
    assert answer("publish-outbox", **blind)["counts"]["published"] == 30
    with engine.connect() as connection:
        keys = connection.execute(text('SELECT "aggregateId" FROM outbox')).scalars().all()
    there = sum(partition_of(key.encode(), 3) == 1 for key in keys)
    mock_kafka.set_leader("payment.completed", 1, -1)
    document = answer("reconcile", "outbox", **blind)
    assert there
    assert (document["exit_code"], document["result"]["not_judged"]) == (6, {"unreadable": there})


def test_topics_of_which_nothing_can_be_read_are_unavailable(blind, answer, mock_kafka):
    """Exit 4: nothing was compared."""
    for topic in TOPICS.values():
        for number in range(3):
            mock_kafka.set_leader(topic, number, -1)
    document = answer("reconcile", "outbox", **blind)
    assert (document["exit_code"], document["error"]["code"]) == (4, "KAFKA_UNAVAILABLE")


def test_a_reading_that_ends_too_early_judges_nothing_that_it_did_not_reach(blind, invoke, answer, mock_kafka):
    """Exit 10, and the verdict says why."""
    mock_kafka.set_rtt(400)
    document = answer("reconcile", "outbox", "--deadline", "1ms", **blind)
    assert (document["exit_code"], document["result"]["not_judged"]) == (10, {"deadline": SENT})
    page = invoke("reconcile", "outbox", "--deadline", "1ms", **blind).stdout.splitlines()
    assert page[-1].startswith("!")
    assert "in time" in page[-1]


@pytest.mark.parametrize(
    ("change", "word"),
    [({"value": "{}"}, "value"), ({"key": "another"}, "key"), ({"topic": "payment.failed"}, "topic")],
)
def test_another_value_key_or_topic_is_wrong(change, word, compare, published, send):
    """Exit 5, and it is said what differs. The event itself is in its topic, so no replay is advised."""
    event_id, key, value = published[2]
    send(event_id, **{"key": key, "value": value, **change})
    document = compare()
    assert (document["exit_code"], document["result"]["repairable"]) == (5, 0)
    assert ("wrong", event_id) in differences(document)
    assert word in next(item["detail"] for item in document["items"] if item["difference"] == "wrong")


@pytest.mark.usefixtures("published")
def test_an_event_that_is_only_in_another_topic_is_repaired(compare, lose, send, tmp_path):
    """Its own topic does not hold it: a replay sends it there once."""
    (event_id,) = lose()
    send(event_id, "key", "{}", topic="payment.failed")
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert (differences(document), document["result"]["repairable"]) == ({("wrong", event_id)}, 1)


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
