"""Test the event flow in a window of two hours with one-hour parts, for each kind of event and each boundary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.plans import plans_of
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.flow_in_window import Flow, Newcomers, Parts, flow

pytestmark = pytest.mark.postgres
SINCE = datetime(2026, 11, 23, 10, tzinfo=UTC)
WINDOW = Parts(SINCE, SINCE + timedelta(hours=2), 3600)
NOTHING = Flow({}, {}, {}, {}, 0, None, None, None, None, None)


@pytest.fixture
def read(engine):
    """Return a function that inserts events and returns the event flow.

    Each event is ``(created, sent, retries)``. ``created`` and ``sent`` are hours after the window's start. ``sent`` is
    None for an event that was not published. With ``half``, published events have only one of the two publication
    marks.
    """

    def run(*events, half=False, most=100):
        def at(hours):
            return None if hours is None else (SINCE + timedelta(hours=hours)).replace(tzinfo=None)

        with engine.begin() as connection:
            insert_events(connection, len(events))
            names = list(connection.exec_driver_sql("SELECT id FROM outbox ORDER BY id").scalars())
            for name, (created, sent, retries) in zip(names, events, strict=True):
                connection.exec_driver_sql(
                    'UPDATE outbox SET "createdAt" = %(c)s, "publishedAt" = %(s)s, published = %(p)s,'
                    ' "retryCount" = %(r)s WHERE id = %(id)s',
                    {"c": at(created), "s": at(sent), "p": sent is not None and not half, "r": retries, "id": name},
                )
        with transaction(engine, Limits(), commit=False) as connection:
            return flow(connection, WINDOW, 5, most)

    return run


def numbers(found):
    """Return only the figures of a flow, without the slowest event, the newcomers or the publishing times."""
    sent = {part: each[:4] for part, each in found.sent.items()}
    return found._replace(slowest=None, newcomers={}, sent=sent)


def test_an_empty_outbox_has_no_flow(read):
    """The flow of an empty outbox contains no events."""
    assert read() == NOTHING


@pytest.mark.parametrize("half", [False, True], ids=["published", "half marked"])
def test_a_sent_event_counts_in_the_part_of_each_instant(read, half):
    """An event that was created in the first hour and sent in the second hour counts in both parts."""
    found = read((0.75, 1.25, 0), half=half)
    lag = 1800.0
    part = (1, lag, lag, lag)
    assert numbers(found) == NOTHING._replace(
        created={0: 1}, joined={0: 1}, sent={1: part}, lag_p50=lag, lag_p95=lag, lag_p99=lag
    )
    assert (found.slowest.lag_s, found.slowest.event_type) == (lag, "PAYMENT_COMPLETED")
    assert found.slowest.created_at == SINCE + timedelta(hours=0.75)
    assert found.slowest.published_at == SINCE + timedelta(hours=1.25)


@pytest.mark.parametrize(
    ("created", "sent", "expected"),
    [
        (0, None, NOTHING._replace(created={0: 1}, joined={0: 1})),
        (1, None, NOTHING._replace(created={1: 1}, joined={1: 1})),
        (2, None, NOTHING),
        (-0.001, None, NOTHING._replace(waiting=1)),
        (-1, -0.001, NOTHING),
        (-1, 2, NOTHING._replace(waiting=1)),
        (17, 17, NOTHING),
    ],
)
def test_a_window_begins_at_its_start_and_ends_before_its_end(read, created, sent, expected):
    """A flow's window includes its start but not its end.

    An earlier event that is sent in the window counts as waiting.
    """
    assert numbers(read((created, sent, 0))) == expected


@pytest.mark.parametrize("half", [False, True], ids=["published", "half marked"])
def test_an_event_that_was_sent_at_the_window_s_start_belongs_to_it(read, half):
    """An event that was sent at the window's start counts.

    A lag is never negative, even if the database's clock was set back.
    """
    found = read((0.5, 0, 0), half=half)
    assert (numbers(found).sent, found.lag_p50, found.created) == ({0: (1, 0, 0, 0)}, 0, {0: 1})


@pytest.mark.parametrize("half", [False, True], ids=["published", "half marked"])
@pytest.mark.parametrize(("created", "counted"), [(16.999, True), (17, False)])
def test_an_event_may_have_been_created_in_another_zone(read, half, created, counted):
    """An event's creation time can be up to 15 hours ahead, because the old service wrote its local time."""
    found = read((created, 1, 0), half=half)
    assert (numbers(found).sent, found.created) == ({1: (1, 0, 0, 0)} if counted else {}, {})


def test_a_dead_event_neither_waits_nor_joins(read):
    """A dead event counts as created, but does not count as an event that a publisher will send."""
    found = read((0.5, None, 5), (-1, None, 5), (0.5, None, 4))
    assert numbers(found) == NOTHING._replace(created={0: 2}, joined={0: 1})


def test_lags_are_by_nearest_rank_and_the_slowest_is_named(read):
    """For twenty events, the flow's lag percentiles are the 10th, the 19th and the 20th lag in ascending order."""
    found = read(*((0.5 - number / 100, 0.5, 0) for number in range(1, 21)))
    minutes = [round(each / 36) for each in (found.lag_p50, found.lag_p95, found.lag_p99)]
    assert minutes == [10, 19, 20]
    part = found.sent[0]
    assert [part.sent, *(round(each / 36) for each in part[1:4])] == [20, 10, 19, 20]
    assert round(found.slowest.lag_s / 36) == 20


def test_only_the_newest_published_events_are_read(read):
    """If only the newest published events are read, the flow says since when it is complete.

    All unpublished events are read. An event that was created 15 hours after the window does not count.
    """
    sent = [(created, 0.5, 0) for created in (0.05, 0.1, 0.2, 0.3, 17)]
    found = read(*sent, (0.15, None, 0), (0.4, None, 0), most=2)
    assert (found.sent[0].sent, found.joined, found.created) == (2, {0: 4}, {0: 6})
    assert found.read_since == SINCE + timedelta(hours=0.1)


def test_a_part_has_its_first_and_last_sent_event_and_the_later_arrivals(read):
    """For each part, the flow says when the first and last events were published, and how many were created later."""
    found = read((0.1, 0.2, 0), (0.1, 0.6, 0), *((created, None, 0) for created in (0.5, 0.6, 0.7, 0.8, 1.5)))
    assert [at - SINCE for at in found.sent[0][4:]] == [timedelta(hours=0.2), timedelta(hours=0.6)]
    assert found.newcomers == {
        0: Newcomers(2, SINCE + timedelta(hours=0.7)), 1: Newcomers(1, SINCE + timedelta(hours=1.5))
    }  # fmt: skip


REQUEUED = """
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after, at)
    SELECT gen_random_uuid(), 0, 1, id, %(outcome)s, jsonb_build_object('published_at', %(sent)s::timestamp), '{}',
        %(at)s
    FROM outbox
"""
OTHERS = """
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after)
    SELECT gen_random_uuid(), 0, n, 'gone-' || n, 'requeued', '{"published_at": "2026-11-01"}', '{}'
    FROM generate_series(1, 50000) AS n
"""


@pytest.fixture(params=["small", "large"])
def record(request, engine):
    """Make the number of replay records smaller or larger than the number of events in the window."""
    if request.param == "large":
        with engine.begin() as connection:
            connection.exec_driver_sql(OTHERS)
            connection.exec_driver_sql("ANALYZE payctl.run_items")


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("outcome", "sent", "expected"),
    [
        ("requeued", -3, NOTHING._replace(created={0: 1}, joined={1: 1}, sent={1: (1, None, None, None)})),
        ("requeued", None, NOTHING._replace(created={0: 1}, joined={0: 1}, sent={1: (1, 4320, 4320, 4320)},
                                            lag_p50=4320, lag_p95=4320, lag_p99=4320)),
        ("marked", -3, NOTHING._replace(created={0: 1}, joined={0: 1}, sent={1: (1, 4320, 4320, 4320)},
                                        lag_p50=4320, lag_p95=4320, lag_p99=4320)),
    ],
    ids=["sent before", "dead before", "not requeued"],
)  # fmt: skip
def test_an_event_that_a_replay_sends_again_has_no_lag(read, engine, outcome, sent, expected):
    """If a requeued event had already been sent, payctl records no lag for its new publication.

    If it had not been sent, its lag counts from its creation.
    """
    read((0.5, 1.7, 0))
    first = None if sent is None else (SINCE + timedelta(hours=sent)).replace(tzinfo=None)
    with engine.begin() as connection:
        at = SINCE + timedelta(hours=1.2)
        connection.exec_driver_sql(REQUEUED, {"outcome": outcome, "sent": first, "at": at})
    with transaction(engine, Limits(), commit=False) as connection:
        found = flow(connection, WINDOW, 5)
    assert numbers(found) == expected
    assert (found.slowest is None) is (expected.lag_p50 is None)


@pytest.mark.usefixtures("record")
def test_a_requeued_event_that_is_still_pending_waits_since_its_requeue(read, engine):
    """An event that was sent earlier and last requeued in the window's second hour did not wait in the first hour."""
    read((-5, None, 0))
    with engine.begin() as connection:
        for hours in (0.5, 1.2, 0.7):
            values = {"outcome": "requeued", "sent": SINCE.replace(tzinfo=None), "at": SINCE + timedelta(hours=hours)}
            connection.exec_driver_sql(REQUEUED, values)
    with transaction(engine, Limits(), commit=False) as connection:
        found = flow(connection, WINDOW, 5)
    assert numbers(found) == NOTHING._replace(joined={1: 1})
    assert found.newcomers == {1: Newcomers(1, SINCE + timedelta(hours=1.2))}


def test_the_flow_reads_only_the_runs_of_its_own_events(read, engine):
    """If there are many replay records, the flow uses the index to look up the records of a few events."""
    read((0.5, 1.7, 0))
    with engine.begin() as connection:
        connection.exec_driver_sql(OTHERS)
        connection.exec_driver_sql("ANALYZE payctl.run_items")
        connection.exec_driver_sql("ANALYZE outbox")
    with transaction(engine, Limits(), commit=False) as connection, plans_of(engine, "WITH") as plans:
        flow(connection, WINDOW, 5)
    (nodes,) = plans
    scans = [node for node in nodes if node.get("Relation Name") == "run_items"]
    assert {node.get("Index Name") for node in scans} == {"run_items_item_id"}


def test_the_flow_of_many_events_reads_a_small_record_of_replays_once(read, engine):
    """If there are fewer replay records than events, the flow does not look up the replay record of each event."""
    read(*[(0.5, 1.7, 0)] * 20)
    with engine.begin() as connection:
        values = {"outcome": "requeued", "sent": SINCE.replace(tzinfo=None), "at": SINCE + timedelta(hours=1.2)}
        connection.exec_driver_sql(f"{REQUEUED} LIMIT 3", values)
        connection.exec_driver_sql("ANALYZE payctl.run_items")
    with transaction(engine, Limits(), commit=False) as connection, plans_of(engine, "WITH") as plans:
        found = flow(connection, WINDOW, 5)
    assert (found.sent[1].sent, found.joined) == (20, {0: 17, 1: 3})
    (nodes,) = plans
    loops = [node["Actual Loops"] for node in nodes if node.get("Relation Name") == "run_items"]
    assert (len(loops), max(loops)) == (2, 1)


def test_the_flow_computes_the_lag_of_an_event_once(read, engine):
    """The statement computes the lag of each event and the event's part of the window only once."""
    read((0.5, 1.7, 0), (0.5, None, 0))
    with transaction(engine, Limits(), commit=False) as connection, plans_of(engine, "WITH") as plans:
        flow(connection, WINDOW, 5)
    (nodes,) = plans
    later = [node for node in nodes if node.get("CTE Name") == "touched"]
    assert len(later) > 1
    assert not [node for node in later if "date_part" in str({**node, "Plans": None})]
