"""Test the statements that claim and release outbox events, and those that list what a claim leaves out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.store.outbox.conftest import ALL, NOON, ids
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Released


def test_a_claim_takes_the_oldest_events_in_order_and_marks_them(connection, add):
    """A claim returns the oldest events, up to its limit, and marks them as published. A rollback undoes the marks."""
    for id_, second in (("c", 2), ("a", 1), ("d", 3), ("b", 1)):
        add(id_, second)
    assert ids(outbox.claim(connection, replace(ALL, limit=3))) == ["a", "b", "c"]
    assert ids(outbox.claim(connection, ALL)) == ["d"]
    assert ids(outbox.claim(connection, ALL)) == []
    marked = connection.exec_driver_sql('SELECT bool_and(published AND "publishedAt" IS NOT NULL) FROM outbox')
    assert marked.scalar_one()
    connection.rollback()
    assert len(outbox.claim(connection, ALL).events) == 4


def test_a_payload_is_the_text_that_postgresql_prints(connection, add):
    """A claimed event's payload is the JSON text that PostgreSQL prints. payctl does not serialize it again."""
    add("a", payload={"b": 1.50, "a": [1, {"đ": "\u0001"}]})
    (event,) = outbox.claim(connection, ALL).events
    assert event.payload == connection.exec_driver_sql("SELECT payload::text FROM outbox").scalar_one()
    assert event.context is None


@pytest.mark.parametrize(
    "columns",
    [
        {"published": True, "publishedAt": NOON},
        {"published": True},
        {"publishedAt": NOON},
        {"retryCount": 5},
        {"retryCount": 6},
    ],
)
def test_published_and_dead_events_are_not_claimed(connection, add, columns):
    """An outbox row with only ``published`` or only ``publishedAt`` also counts as published and is not claimed."""
    add("a", **columns)
    add("b", retryCount=4)
    assert ids(outbox.claim(connection, ALL)) == ["b"]


def test_a_claim_begins_behind_a_position(connection, add):
    """A claim starts immediately after exactly one event, even if other events have the same timestamp."""
    for id_ in "abc":
        add(id_, 1)
    add("0", 2)
    assert ids(outbox.claim(connection, replace(ALL, after=(NOON + timedelta(seconds=1), "b")))) == ["c", "0"]


def test_a_claim_leaves_out_excluded_keys_other_types_and_later_events(connection, add):
    """A claim takes events of the wanted types up to a given time, but none from an excluded payment."""
    add("a", 1, key="k")
    add("b", 2, eventType="PAYMENT_FAILED")
    add("c", 3)
    add("d", 4)
    wanted = replace(
        ALL, excluded=("k",), types=("PAYMENT_COMPLETED", "PAYMENT_CANCELLED"), until=NOON + timedelta(seconds=3)
    )
    assert ids(outbox.claim(connection, wanted)) == ["c"]


@pytest.mark.parametrize("shards", [1, 2, 3, 64])
def test_shards_divide_the_keys(connection, add, shards):
    """All events of a payment belong to exactly one shard."""
    for number in range(40):
        add(f"{number:02}", number, key=f"k{number % 20}")
    parts = [outbox.claim(connection, replace(ALL, shard=n, shards=shards)).events for n in range(shards)]
    keys = [{event.aggregate_id for event in part} for part in parts]
    assert sum(map(len, parts)) == 40
    assert sum(map(len, keys)) == 20
    assert shards == 1 or max(map(len, keys)) < 20


def test_the_shard_of_a_key_never_changes(connection, add):
    """The shard of a key must not change, because publishers of different payctl versions can run at the same time."""
    for number in range(8):
        add(str(number), number, key=f"k{number}", retryCount=1)
    shards = []
    for number in range(3):
        failed = outbox.failed(connection, shard=number, shards=3, limit=9)
        claimed = outbox.claim(connection, replace(ALL, shard=number, shards=3)).events
        assert [row.aggregate_id for row in failed] == [event.aggregate_id for event in claimed]
        shards.append([row.aggregate_id for row in failed])
    assert shards == [["k2", "k6"], ["k0", "k3"], ["k1", "k4", "k5", "k7"]]


def test_a_claimed_event_has_its_own_context(connection, add):
    """A claimed event has the context that is stored for it, and not the context of another event."""
    for id_ in "abc":
        add(id_)
    for id_ in "ac":
        connection.exec_driver_sql(
            "INSERT INTO payctl.event_context (event_id, correlation_id) VALUES (%s, %s)", (id_, f"of {id_}")
        )
    found = [event.context and event.context[0] for event in outbox.claim(connection, ALL).events]
    assert found == ["of a", None, "of c"]


def test_a_released_event_is_pending_again(connection, add):
    """A released event gets the new retry count. If no new error is given, the event keeps its last error."""
    add("a", 1, retryCount=1, lastError="before")
    add("b", 2)
    outbox.claim(connection, ALL)
    outbox.release(connection, [Released("a", 1, None), Released("b", 3, "X: it's 100% wrong")])
    rows = connection.exec_driver_sql(
        'SELECT published, "publishedAt", "retryCount", "lastError" FROM outbox ORDER BY id'
    )
    assert [tuple(row) for row in rows] == [(False, None, 1, "before"), (False, None, 3, "X: it's 100% wrong")]
    assert ids(outbox.claim(connection, ALL)) == ["a", "b"]


def test_failed_events_are_listed_oldest_first(connection, add):
    """The list of failed events contains dead events and events that wait for a retry, but not published events."""
    add("b", 2, retryCount=9)
    add("a", 1, retryCount=1)
    add("c", 3)
    add("d", 4, retryCount=2, published=True)
    assert [(row.position[1], row.retry_count) for row in outbox.failed(connection, shard=0, shards=1, limit=9)] == [
        ("a", 1),
        ("b", 9),
    ]


def test_only_unwanted_types_that_block_a_wanted_event_are_listed(connection, add):
    """An event with an unwanted type is listed only if its payment has a pending event with a wanted type."""
    add("a", 1, key="k", eventType="PAYMENT_FAILED")
    add("b", 2, key="k")
    add("c", 3, key="m", eventType="PAYMENT_FAILED")
    add("d", 4, key="n", eventType="PAYMENT_FAILED", retryCount=5)
    add("e", 5, key="n")
    rows = outbox.waiting_of_other_types(connection, ("PAYMENT_COMPLETED",), 5)
    assert [row.position[1] for row in rows] == ["a"]
