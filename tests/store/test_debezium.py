"""Test the facts about Debezium in PostgreSQL's catalogue, and the events that a cut-over sends and marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from tests.conftest import engine_of
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.outbox.cdc import Marked, Pending
from ticketbottle_payctl.store.outbox.debezium_names import PUBLICATION

pytestmark = pytest.mark.postgres
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).replace(tzinfo=None)
STATES = 'SELECT id, published, "publishedAt", "retryCount", "lastError" FROM outbox ORDER BY id COLLATE "C"'


@pytest.fixture
def connection(engine):
    """Yield a connection whose transaction is rolled back after the test."""
    with engine.connect() as connection:
        yield connection


@pytest.mark.parametrize(
    ("publications", "expected"),
    [
        ([], False),
        ([(PUBLICATION, "outbox", "insert")], True),
        ([(PUBLICATION, "outbox", "insert, update")], False),
        ([(PUBLICATION, "outbox", "insert, delete")], False),
        ([(PUBLICATION, "outbox", "insert, truncate")], False),
        ([(PUBLICATION, "outbox", "update")], False),
        ([(PUBLICATION, "outbox", "")], False),
        ([(PUBLICATION, "payments", "insert")], False),
        ([("another", "outbox", "insert")], False),
        ([(PUBLICATION, "outbox", "insert"), ("another", "outbox", "insert, update")], True),
        ([(PUBLICATION, "payments", "insert"), ("another", "outbox", "insert")], False),
    ],
)
def test_debezium_s_publication_has_only_the_inserts_of_the_outbox(connection, publications, expected):
    """The publication is correct if it has Debezium's name, contains the outbox, and publishes only inserts."""
    for name, table, publish in publications:
        connection.exec_driver_sql(f"CREATE PUBLICATION {name} FOR TABLE {table} WITH (publish = '{publish}')")
    assert cdc.publishes_inserts(connection) is expected


def test_the_outbox_is_named_with_its_schema(connection):
    """The name of the outbox contains its schema, and is quoted if it needs quotes."""
    assert cdc.table_name(connection) == "public.outbox"
    connection.exec_driver_sql('CREATE SCHEMA "Its own"; ALTER TABLE outbox SET SCHEMA "Its own"')
    connection.exec_driver_sql('SET LOCAL search_path = "Its own"')
    assert cdc.table_name(connection) == '"Its own".outbox'


@pytest.fixture
def other_engine(logical, clones, template_database):
    """Yield an engine for another database on the server."""
    name = clones.create(template_database)
    engine = engine_of(logical.url(name))
    yield engine
    engine.dispose()
    clones.drop(name)


@pytest.mark.usefixtures("logical")
def test_a_new_slot_returns_the_oldest_pending_events(engine, other_engine, execute):
    """A new slot returns the oldest pending events, up to a limit. Other databases do not have this slot."""
    orders = Orders(engine).event(id="c", age=5 * MINUTE).event(id="a", age=MINUTE).event(id="b", age=MINUTE)
    orders.event(id="0", age=9 * MINUTE, retries=5).event(id="1", age=9 * MINUTE, state="published")
    execute("""UPDATE outbox SET "createdAt" = (SELECT "createdAt" FROM outbox WHERE id = 'b') WHERE id = 'a'""")
    execute("SELECT pg_create_physical_replication_slot('another')")
    execute("SELECT pg_create_logical_replication_slot('a_third', 'pgoutput')")
    with engine.connect() as connection:
        assert cdc.slot(connection) is None
    try:
        found = cdc.make_slot(engine, "public.outbox", 5, limit=2, patience=MINUTE)
        with engine.connect() as here, other_engine.connect() as there:
            assert (cdc.slot(here), cdc.slot(there)) == (cdc.SlotState(active=False), None)
    finally:
        execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    assert found == [Pending("c", "gone"), Pending("a", "gone")]


def test_the_events_to_send_are_claimed_with_their_context(engine, connection, execute):
    """The given events are claimed, oldest first, each with its own context. Published events are left out."""
    orders = Orders(engine).pay().event(id="c", age=9 * MINUTE).event(id="a", age=5 * MINUTE).event(id="b")
    orders.event(id="sent", state="published").event(id="other")
    execute("INSERT INTO payctl.event_context (event_id, correlation_id) VALUES ('a', 'of a'), ('b', 'of b')")
    found = cdc.claim_these(connection, ["a", "c", "sent"])
    assert [(each.id, each.context and each.context[0]) for each in found] == [("c", None), ("a", "of a")]
    marked = connection.exec_driver_sql(STATES).all()
    assert [(row.id, row.published, row.publishedAt is None) for row in marked] == [
        ("a", True, False),
        ("b", False, True),
        ("c", True, False),
        ("other", False, True),
        ("sent", True, False),
    ]


def test_only_unpublished_events_are_marked_as_sent(engine, connection):
    """Events in Kafka get the time of their records.

    Published events and events that are not in Kafka stay unchanged.
    """
    Orders(engine).event(id="a").event(id="b", retries=5).event(id="other").event(id="sent", state="published")
    before = {row.id: row for row in connection.exec_driver_sql(STATES)}
    sent = [Marked("a", NOON), Marked("b", NOON + MINUTE), Marked("sent", NOON), Marked("gone", NOON)]
    assert cdc.mark_published(connection, sent) == 2
    after = {row.id: row for row in connection.exec_driver_sql(STATES)}
    assert (after["a"][1:3], after["b"][1:3]) == ((True, NOON), (True, NOON + MINUTE))
    assert [after[name] for name in ("other", "sent")] == [before[name] for name in ("other", "sent")]


def test_only_pending_events_are_marked_as_dead(engine, connection):
    """The given pending events become dead with an error. All other events stay unchanged."""
    orders = Orders(engine).event(id="a").event(id="b", retries=4).event(id="other")
    orders.event(id="dead", retries=5, error="old").event(id="sent", state="published")
    assert cdc.mark_dead(connection, ["a", "b", "dead", "sent"], 5, "no topic") == 2
    assert [(row.id, row.retryCount, row.lastError) for row in connection.exec_driver_sql(STATES)] == [
        ("a", 5, "no topic"),
        ("b", 5, "no topic"),
        ("dead", 5, "old"),
        ("other", 0, None),
        ("sent", 0, None),
    ]
