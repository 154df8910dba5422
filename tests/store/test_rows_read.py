"""Test that statements read only the rows that they need, even if their tables are large."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.plans import nodes_of, plans_of, rows_read
from ticketbottle_payctl.jobs.measure_outbox import measure_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.db import short_ids
from ticketbottle_payctl.store.outbox import blocked, flow_in_window, retention, sent_events
from ticketbottle_payctl.store.outbox.list_events import list_events
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payments import health, history
from ticketbottle_payctl.store.payments.open_orders import no_event

pytestmark = pytest.mark.postgres
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MANY = 5_000
IN_THE_MIDDLE = "7fffffff-43a1-4d7a-9a53-1f6f4b1b2c3d"
_RECEIPTS = """
    INSERT INTO payctl.webhook_receipts
    SELECT made.* FROM (SELECT to_jsonb(r) AS row FROM payctl.webhook_receipts AS r LIMIT 1) AS one,
        generate_series(1, %s) AS n,
        jsonb_populate_record(NULL::payctl.webhook_receipts,
            row || jsonb_build_object('id', md5(n::text)::uuid)) AS made
"""


@pytest.fixture
def events(engine):
    """Return a function that inserts events and updates the statistics of their table."""

    def run(*groups):
        with engine.begin() as connection:
            for number, values in groups:
                insert_events(connection, number, **values)
            connection.exec_driver_sql("ANALYZE outbox")

    return run


@pytest.fixture
def copies(engine):
    """Return a function that inserts copies of the only callback and updates the statistics of their table."""

    def run(number):
        with engine.begin() as connection:
            connection.exec_driver_sql(_RECEIPTS, (number,))
            connection.exec_driver_sql("ANALYZE payctl.webhook_receipts")

    return run


@pytest.fixture
def plan(engine):
    """Return a function that runs a search and returns the plan of its first statement with the given words."""

    def run(words, search):
        with plans_of(engine, words) as plans, engine.connect() as connection:
            search(connection)
        return plans[0]

    return run


def test_the_check_of_the_callbacks_table_reads_no_callback(engine, plan):
    """The check that a role can read the table of callbacks does not read a row."""
    Orders(engine).callback().callback()
    assert rows_read(plan("webhook_receipts", receipts.require), "webhook_receipts") == 0


def test_the_search_for_a_short_id_reads_only_the_ids_that_begin_with_it(engine, events, plan):
    """The search for a short id among thousands of ids reads only the ids that begin with the short id."""
    Orders(engine).event(id=IN_THE_MIDDLE)
    events((MANY, {}))
    nodes = plan("starts_with", lambda c: short_ids.whole(c, "outbox", [IN_THE_MIDDLE[:8]]))
    assert rows_read(nodes, "outbox") == 1


def test_the_search_for_a_short_uuid_reads_only_the_ids_that_begin_with_it(engine, copies, plan):
    """The search for a short id among thousands of UUIDs reads only the UUIDs that begin with the short id."""
    Orders(engine).callback(id=IN_THE_MIDDLE)
    copies(MANY)
    nodes = plan(
        "starts_with", lambda c: short_ids.whole(c, "payctl.webhook_receipts", [IN_THE_MIDDLE[:8]], uuids=True)
    )
    assert rows_read(nodes, "webhook_receipts") == 1


def test_a_list_of_events_reads_one_page_of_each_half(events, plan):
    """A list of the ten newest events reads about ten published and ten unpublished events of a large outbox."""
    events((MANY, {"state": "published"}), (MANY, {}))
    nodes = plan("UNION ALL", lambda c: list_events(c, 10, None, selector=Selector(), max_retries=5))
    assert 20 <= rows_read(nodes, "outbox") <= 30


def index_conditions(nodes):
    """Return the conditions by which a plan searches indexes, as one string."""
    return " ".join(node.get("Index Cond", "") for node in nodes)


@pytest.fixture
def last_hour(events):
    """Insert ten events in the last hour and thousands of older ones. Return the start and the end of this hour."""
    events((MANY, {"state": "published", "age": 9 * HOUR}), (10, {"state": "published", "age": MINUTE}))
    return datetime.now(UTC) - HOUR, datetime.now(UTC)


def test_the_search_for_sent_events_reads_only_the_events_of_its_window(last_hour, plan):
    """The search for sent events uses the whole index, so it does not read an event outside its window."""
    nodes = plan("DECLARE sent", lambda c: list(sent_events.created_between(c, *last_hour, 100)))
    assert rows_read(nodes, "outbox") == 10
    assert "published = ANY" in index_conditions(nodes)


def test_the_count_of_created_events_reads_only_the_events_of_its_window(last_hour, plan):
    """The count of created events uses the whole index, so it does not read an event outside its window."""
    parts = flow_in_window.Parts(*last_hour, 3600)
    nodes = plan("GROUP BY 1", lambda c: flow_in_window.flow(c, parts, 5))
    assert rows_read(nodes, "outbox") == 10
    assert "published = ANY" in index_conditions(nodes)


def test_the_search_for_orders_without_an_event_reads_no_older_event(engine, last_hour, plan):
    """The search for paid orders without an event uses the whole index, so it does not read an older event."""
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("ANALYZE payments")
    nodes = plan("no_event", lambda c: no_event(c, *last_hour))
    assert rows_read(nodes, "outbox") == 10
    assert "published = ANY" in index_conditions(nodes)


def test_the_size_of_the_outbox_needs_no_published_event(engine, events):
    """The measurement for the scheduled publisher's metrics reads only the unpublished events."""
    events((MANY, {"state": "published"}), (3, {}))
    with plans_of(engine, "FROM outbox") as plans:
        assert measure_outbox(engine, 5).pending == 3
    assert sum(rows_read(nodes, "outbox") for nodes in plans) <= 4  # the oldest event is read again for its id


def test_a_count_of_expired_events_with_a_limit_begins_with_the_oldest(events, plan):
    """A count with a limit begins with the oldest event, so it does not read the events that have not expired yet."""
    events((100, {"state": "published", "age": 8 * DAY}), (MANY, {"state": "published", "age": 7 * DAY - HOUR}))
    expired = retention.Expired(datetime.now(UTC) - 7 * DAY)
    nodes = plan("AS first", lambda c: retention.count(c, expired, 10))
    assert rows_read(nodes, "outbox") == 10


def test_the_health_of_gateways_reads_only_the_callbacks_of_one_day(engine, copies):
    """The measurement of the gateways does not read a callback that is older than a day."""
    Orders(engine).pay().callback(age=30 * HOUR)
    copies(MANY)
    with engine.connect() as connection:
        sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {health._HEALTH}"  # noqa: SLF001 - the statement itself
        values = {"after": 20 * MINUTE, "window": HOUR}
        (found,) = connection.exec_driver_sql(sql, values).scalar_one()
    assert rows_read(list(nodes_of(found["Plan"])), "webhook_receipts") == 0


@pytest.mark.parametrize(
    ("words", "callback"),
    [
        ("ORDER BY payment NULLS LAST", {"payment": None, "reference": "wanted"}),
        ("WHERE reference = '' AND order_ref", {"payment": None, "reference": "", "order_ref": "wanted"}),
        ("ORDER BY received_at DESC", {"payment": None, "order_ref": "wanted"}),
    ],
    ids=["reference", "order without a reference", "order"],
)
def test_the_search_for_a_name_returns_one_of_its_callbacks(words, callback, engine, copies, plan):
    """If thousands of callbacks have the same name, the database returns only one of them."""
    Orders(engine).callback(**callback)
    copies(MANY)
    nodes = plan(words, lambda c: history.find(c, "wanted", 5))
    assert nodes[0]["Actual Rows"] == 1


def test_a_blocked_event_is_returned_once(engine, plan):
    """If several dead events block a pending event, the database returns the pending event only once."""
    orders = Orders(engine).pay()
    for age in (4, 3, 2):
        orders.event(state="dead", age=age * HOUR)
    orders.event(age=HOUR)
    wanted = [blocked.Pending(orders.events[-1], orders.payment.id, datetime.now(UTC).replace(tzinfo=None))]
    nodes = plan("AS p (id, key, at)", lambda c: blocked.blocked_among(c, wanted, 5))
    assert nodes[0]["Actual Rows"] == 1
