"""Test the statements that claim and release outbox events, and those that find events and short ids."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Claim, Released
from ticketbottle_payctl.store.outbox.oldest_pending import oldest_pending
from ticketbottle_payctl.store.outbox.sent_events import created_between

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone
ALL = Claim(after=START, limit=100, max_retries=5)


@pytest.fixture
def add(engine):
    """Return a function that inserts a row with a creation time of ``second`` seconds after noon.

    It returns the row's id.
    """

    def insert(id_, second=0.0, key=None, **columns):
        values = {
            "id": id_,
            "aggregateId": key or f"key of {id_}",
            "aggregateType": "payment",
            "eventType": "PAYMENT_COMPLETED",
            "payload": json.dumps(columns.pop("payload", {})),
            "createdAt": NOON + timedelta(seconds=second),
            **columns,
        }
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join(f"%({name})s" for name in values)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO outbox ({names}) VALUES ({places})", values)  # noqa: S608
        return id_

    return insert


@pytest.fixture
def connection(engine):
    """Yield a connection whose transaction is rolled back after the test."""
    with engine.connect() as connection:
        yield connection


def ids(claimed):
    """Return the ids of the claimed events, in the order in which they were claimed."""
    return [event.id for event in claimed.events]


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


def test_without_a_claimed_event_a_limited_number_of_locked_events_is_named(connection, add):
    """If a claim took no event, it reports at most as many locked events as it could have taken."""
    for id_ in "abc":
        add(id_)
    assert len(outbox.locked_by_others(connection, replace(ALL, limit=2), None)) == 2


def test_a_claim_waits_for_a_locked_row_or_skips_it(engine, connection, add):
    """A claim waits up to the lock timeout, or skips a locked row and reports the row's key and position."""
    add("a", 1)
    add("b", 2)
    add("c", 3)
    with engine.connect() as other:
        other.exec_driver_sql("SELECT 1 FROM outbox WHERE id = 'b' FOR UPDATE")
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            outbox.claim(connection, ALL)
        connection.rollback()
        claimed = outbox.claim(connection, ALL, skip_locked=True)
        assert (ids(claimed), claimed.complete) == (["a", "c"], True)
        left = outbox.locked_by_others(connection, ALL, claimed.events[-1].position)
        assert left == [("key of b", (NOON + timedelta(seconds=2), "b"))]
        other.rollback()


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


def place(second, id_):
    """Return an event's position in the publishing order."""
    return NOON + timedelta(seconds=second), id_


def test_the_end_of_the_next_claim_is_found_in_advance(connection, add):
    """The end of the next claim is the position of its last event, or None if too few events are pending."""
    for number in range(5):
        add(str(number), number, retryCount=5 * (number == 1))
    two = replace(ALL, limit=2)
    assert outbox.end_of_next(connection, two, "1") == place(2, "2")
    assert outbox.end_of_next(connection, replace(two, after=place(2, "2")), "1") == place(4, "4")
    assert outbox.end_of_next(connection, replace(two, after=place(3, "3")), "1") is None
    assert len(outbox.claim(connection, ALL).events) == 4


def test_finding_the_end_of_a_claim_also_takes_a_lock(connection):
    """One statement takes the advisory lock and then finds the end of the claim, even if no event is pending."""
    assert outbox.end_of_next(connection, ALL, "pg_advisory_xact_lock(1, 2)") is None
    held = connection.exec_driver_sql(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    )
    assert held.scalar_one() == 2


def test_two_concurrent_claims_share_no_event(engine, connection, add):
    """Two concurrent claims, one up to a position and one after it, do not share events or wait for each other."""
    for number in range(6):
        add(str(number), number)
    end = outbox.end_of_next(connection, replace(ALL, limit=3), "1")
    with engine.connect() as other:
        for session in (connection, other):
            session.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
        second = outbox.claim(other, replace(ALL, after=end))
        first = outbox.claim(connection, replace(ALL, limit=3, end=end))
        other.rollback()
    assert (ids(first), ids(second)) == (["0", "1", "2"], ["3", "4", "5"])
    assert (first.complete, second.complete) == (True, True)


@pytest.mark.parametrize(("late", "complete"), [(1, True), (5, True), (6, False), (60, False)])
def test_a_range_with_too_many_late_events_is_not_complete(connection, add, monkeypatch, late, complete):
    """If too many events are committed into a range before the claim, the claim reports that it is incomplete."""
    monkeypatch.setattr(outbox, "_MOST_MORE_IN_RANGE", 6)
    end = place(9, "end")
    for number in range(1, 2 + late):
        add(f"{number:03}", number / 100)
    add("end", 9)
    claimed = outbox.claim(connection, replace(ALL, limit=2, end=end))
    assert (claimed.complete, len(claimed.events)) == (complete, min(2 + late, 8))


def claim_and_release(other):
    """Claim the first events, give them back and commit, as a publisher does when it is stopped."""
    claimed = outbox.claim(other, replace(ALL, limit=2), skip_locked=True).events
    outbox.release(other, [Released(event.id, 0, None) for event in claimed])
    other.commit()


def lock(other):
    """Lock the first event's row, as a person does in psql, and commit."""
    other.exec_driver_sql("SELECT FROM outbox WHERE id = 'a' FOR UPDATE")
    other.commit()


def lock_and_change(other):
    """Lock the first event's row, change the row and commit, as a replay does."""
    other.exec_driver_sql("SELECT FROM outbox WHERE id = 'a' FOR UPDATE")
    other.exec_driver_sql("""UPDATE outbox SET "retryCount" = 0 WHERE id = 'a'""")
    other.commit()


def claim_and_end(other):
    """Claim the first events in a session that ends without a commit, as a killed publisher does."""
    assert ids(outbox.claim(other, replace(ALL, limit=2))) == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "skip_locked", "interrupted"),
    [
        (claim_and_end, False, True),
        (claim_and_end, True, False),
        (claim_and_release, False, False),
        (lock, False, False),
        (lock_and_change, False, False),
        (lambda _: None, False, False),
    ],
)
def test_a_claim_shows_whether_an_earlier_claim_of_its_events_was_interrupted(
    engine, connection, add, before, skip_locked, interrupted
):
    """Only an earlier claim of one of the claimed events counts, and only if it was not committed."""
    add("a", 1)
    add("b", 2)
    add("c", 3)
    with engine.connect() as other:
        before(other)
    assert outbox.claim(connection, replace(ALL, limit=1), skip_locked=skip_locked).interrupted is interrupted
    behind = replace(ALL, limit=1, after=(NOON + timedelta(seconds=2), "b"))
    assert outbox.claim(connection, behind).interrupted is False


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


def test_the_age_of_the_oldest_pending_event(connection, add):
    """The age of the oldest pending event is in seconds by the database's clock.

    This age is never negative. If no event is pending, the age is None.
    """
    assert oldest_pending(connection, 5) is None
    add("dead", -999_999, retryCount=5)
    assert oldest_pending(connection, 5) is None
    connection.rollback()
    add("ahead", timedelta(days=36_500).total_seconds())
    assert oldest_pending(connection, 5) == 0.0
    connection.rollback()
    add("a", 0)
    real = connection.exec_driver_sql(
        "SELECT extract(epoch FROM clock_timestamp() AT TIME ZONE 'UTC' - %(noon)s)", {"noon": NOON}
    ).scalar_one()
    assert oldest_pending(connection, 5) == pytest.approx(max(0.0, float(real)), abs=5)


def test_the_sent_events_of_a_window_are_found_by_their_creation(connection, add):
    """Sent events are found by their creation time in a window that includes its start but not its end.

    Half-marked events count as sent.
    """
    sent = {"published": True, "publishedAt": NOON + timedelta(days=9)}
    for id_, second in (("early", -1), ("first", 0), ("last", 59), ("late", 60)):
        add(id_, second, **sent)
    add("half marked", 30, **sent | {"published": False})
    add("pending", 30)
    since = NOON.replace(tzinfo=UTC)
    window = (connection, since, since + timedelta(minutes=1))
    assert {one.id for one in created_between(*window, 9)} == {"first", "half marked", "last"}
    assert len([*created_between(*window, 2)]) == 2


@pytest.mark.parametrize("tooshort", ["", "5", "5f0c8b7"])
def test_a_text_of_fewer_than_eight_characters_is_no_short_id(connection, add, tooshort):
    """A string of fewer than eight characters is not completed, even if a short id in the same list is."""
    whole = "5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d"
    add("p1", id=whole)
    assert short_ids.whole(connection, "outbox", [whole[:8], tooshort]) == (whole, tooshort)


RECEIPT = "5f0c8b7e-43a1-4d7a-9a53-1f6f4b1b2c3d"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("5f0c8b7e", RECEIPT), ("5F0C8B7E-43A1", RECEIPT), ("5f0c8b7", "5f0c8b7"), ("5f0c8b7f", "5f0c8b7f"),
        (RECEIPT[:35], RECEIPT), ("5f0c8b7e" * 4, "5f0c8b7e" * 4), (f"{'5f0c8b7e' * 4}5f0", f"{'5f0c8b7e' * 4}5f0"),
    ],
)  # fmt: skip
def test_a_short_id_of_a_uuid_column_has_at_most_32_digits(connection, given, expected):
    """A short id of a UUID column can have upper-case letters.

    A string with more than 32 digits is neither a UUID nor the beginning of a UUID.
    """
    connection.exec_driver_sql(
        """INSERT INTO payctl.webhook_receipts (id, provider, order_ref, reference, currency, outcome, result, method,
            path, query, body, body_sha256) VALUES (%(id)s, '', '', '', '', '', '', '', '', '', '', '')""",
        {"id": RECEIPT},
    )
    found = short_ids.whole(connection, "payctl.webhook_receipts", [given], uuids=True)
    assert found == (expected,)


def test_a_short_id_is_replaced_by_the_only_id_that_begins_with_it(connection, add):
    """A short id is completed if one id begins with it, and two matching ids are an error.

    An id that is complete, unknown or shorter than eight characters does not change.
    """
    whole = add("5f0c8b7e-zzzz")
    other = add("5f0c8b7f")
    given = ["5f0c8b7e", "5f0c8b7f", "00000000"]
    assert short_ids.whole(connection, "outbox", given) == (whole, other, "00000000")
    assert short_ids.whole(connection, "outbox", ["5f0c8b7"]) == ("5f0c8b7",)
    add("5f0c8b7e-1")
    with pytest.raises(InputError, match="ambiguous"):
        short_ids.whole(connection, "outbox", given)


def test_the_clock_is_the_database_s_in_utc(connection):
    """`outbox.now` returns the database's time in UTC, even if the session has a different time zone."""
    connection.exec_driver_sql("SET LOCAL timezone = 'Asia/Ho_Chi_Minh'")
    epoch = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    now = outbox.now(connection)
    assert now.tzinfo is None
    assert (now - datetime(1970, 1, 1)).total_seconds() == pytest.approx(float(epoch), abs=5)  # noqa: DTZ001
