"""Test ``payctl reconcile outbox``, which compares published outbox events with the messages in Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.cli.commands.reconcile.conftest import SENT, differences
from ticketbottle_payctl.broker.window import WindowQuery, read_window
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres


@pytest.mark.usefixtures("published")
def test_reconcile_finds_no_difference_after_publishing(compare):
    """If all events are published, `reconcile outbox` finds no differences and exits with 0."""
    document = compare()
    assert (document["exit_code"], document["counts"]["compared"], document["items"]) == (0, SENT, [])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("state", ["published", "sent_unmarked"])
def test_reconcile_calls_a_published_event_without_a_record_lost(state, compare, engine, lose):
    """If a published event has no record in Kafka, `reconcile outbox` reports it as lost and exits with 5.

    The same is true for an event that has ``publishedAt`` but is not marked as published.
    """
    (lost,) = lose()
    if state == "sent_unmarked":
        with engine.begin() as connection:
            connection.execute(text("UPDATE outbox SET published = false WHERE id = :id"), {"id": lost})
    document = compare()
    assert (document["exit_code"], differences(document)) == (5, {("lost", lost)})
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (1, None)


def test_reconcile_shows_ten_differences_and_ends_with_the_verdict(invoke, published, lose, world):
    """`reconcile outbox` shows ten differences, the count of further differences, and the verdict.

    --all shows all differences.
    """
    assert len(published) == SENT
    lost = lose(14)
    short = invoke("reconcile", "outbox", **world)
    assert sum(each in short.stdout for each in lost) == 10
    assert "and 4 more" in short.stdout
    assert short.stdout.splitlines()[-1].startswith("✘")
    every = invoke("reconcile", "outbox", "--all", **world).stdout
    assert sum(each in every for each in lost) == 14
    assert ("PAYMENT_COMPLETED" in short.stdout, "PAYMENT_COMPLETED" in every) == (False, True)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"value": "{}"}, "value"), ({"key": "another"}, "key"), ({"topic": "payment.failed"}, "topic")],
)
def test_reconcile_reports_a_message_with_another_value_key_or_topic(change, word, compare, published, send):
    """If a message has a wrong value, key or topic, `reconcile outbox` exits with 5 and names the difference.

    `reconcile outbox` does not suggest a replay, because the right topic also has a correct message for the event.
    """
    event_id, key, value = published[2]
    send(event_id, **{"key": key, "value": value, **change})
    document = compare()
    assert (document["exit_code"], document["result"]["repairable"]) == (5, 0)
    assert ("wrong", event_id) in differences(document)
    assert word in next(item["detail"] for item in document["items"] if item["difference"] == "wrong")


@pytest.mark.usefixtures("published")
def test_reconcile_advises_a_replay_of_an_event_in_a_wrong_topic(compare, lose, send, tmp_path):
    """If an event was sent only to the wrong topic, `reconcile outbox` suggests a replay that fixes this."""
    (event_id,) = lose()
    send(event_id, "key", "{}", topic="payment.failed")
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert (differences(document), document["result"]["repairable"]) == ({("wrong", event_id)}, 1)


def test_reconcile_reports_a_second_copy_and_exits_with_0(compare, published, send):
    """`reconcile outbox` reports a second copy of a message and exits with 0, but ignores copies that a replay sent."""
    event_id, key, value = published[0]
    send(event_id, key, value, replayRunId="a-run")
    assert compare()["items"] == []
    send(event_id, key, value)
    document = compare()
    assert (document["exit_code"], differences(document)) == (0, {("double", event_id)})


def test_reconcile_reports_an_overtaken_event_as_out_of_order(compare, engine, send):
    """`reconcile outbox` reports an event as out of order if an earlier event of its payment was sent later."""
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
def test_reconcile_compares_only_the_events_of_its_window(compare):
    """`reconcile outbox` compares only the events that were created in its time window."""
    document = compare("--since", "1m")
    assert (document["counts"]["compared"], document["counts"]["other"]) == (0, SENT)


def test_reconcile_keeps_only_the_records_of_compared_events(kafka, send):
    """`reconcile outbox` counts all records, but keeps only the records for the compared events in memory."""
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
