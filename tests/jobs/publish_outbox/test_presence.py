"""Test that other commands see a publisher that cannot reach its brokers, and that the record costs little."""

from __future__ import annotations

import os
import socket
from itertools import pairwise

import pytest
from sqlalchemy import event

from tests.jobs.publish_outbox.conftest import Clockwork
from ticketbottle_payctl.domain.causes import publishing
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.outbox import shard_lock

OURS = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture
def look(engine):
    """Return a function that reads what the database shows about the publishers now."""

    def run():
        with engine.connect() as connection:
            seen, known = publishers.seen(connection)
        return publishing(seen, known=known)

    return run


def refuse_outages(engine):
    """Make the database refuse each record of an outage."""
    trigger = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.shard = 1 THEN RAISE insufficient_privilege; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON payctl.publishers FOR EACH ROW EXECUTE FUNCTION refuse()
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(trigger)


@pytest.mark.usefixtures("short_probe")
def test_a_loop_without_brokers_is_seen_as_such_until_it_reaches_them(outbox, mock_kafka, look):
    """The database shows that a loop cannot reach its brokers, until the loop reaches them."""
    found = {}
    mock_kafka.down()
    at = {
        3: lambda: found.update(away=look()),
        4: mock_kafka.up,
        9: lambda: found.update(back=look()),
    }
    outbox.insert(1)
    outbox.run(Clockwork(waits=10, at=at), loop=True)
    away, back, ended = found["away"], found["back"], look()
    assert (away.activity, away.running, away.last.name) == ("without_brokers", True, OURS)
    assert "is not available" in away.last.without_brokers
    assert (back.activity, back.last.without_brokers) == ("running", None)
    assert (ended.activity, ended.running, ended.last.without_brokers) == ("between_runs", False, None)


@pytest.mark.usefixtures("short_probe")
@pytest.mark.parametrize("loop", [False, True])
def test_a_publisher_that_ends_without_brokers_is_not_running(outbox, mock_kafka, look, loop):
    """A publisher that gave up or was stopped during an outage is shown as ended without reaching its brokers."""
    mock_kafka.down()
    report = outbox.run(Clockwork(waits=2), loop=loop)
    found = look()
    assert report.stopped_because == ("signal" if loop else "broker_unavailable")
    assert (found.activity, found.running, found.last.ended) == ("without_brokers", False, True)


@pytest.mark.usefixtures("short_probe")
def test_the_next_run_that_reaches_the_brokers_is_the_last_sign(outbox, mock_kafka, look):
    """If a later run reaches the brokers, payctl no longer reports that a run had no brokers."""
    mock_kafka.down()
    outbox.run(Clockwork())
    mock_kafka.up()
    outbox.run(Clockwork())
    assert (look().activity, look().last.without_brokers) == ("between_runs", None)


@pytest.mark.usefixtures("short_probe")
def test_a_publisher_that_held_a_shard_is_one_publisher_without_brokers(outbox, mock_kafka, engine):
    """A publisher that loses its brokers keeps its number of shards, and is not counted twice."""
    found = []

    def read():
        with engine.connect() as connection:
            found.extend(publishers.seen(connection)[0])

    clockwork = Clockwork(at={1: mock_kafka.down})
    waits = []

    def waiting(_error, _seconds):
        waits.append(1)
        if len(waits) == 2:
            read()
            clockwork.set()

    outbox.run(clockwork, observer=Observer(on_wait=waiting), loop=True, shards=2)
    (publisher,) = found
    assert (publisher.shards, publisher.ended, "not available" in publisher.without_brokers) == (2, False, True)


@pytest.mark.usefixtures("short_probe")
def test_an_attempt_without_brokers_writes_one_statement(outbox, mock_kafka, engine):
    """During an outage, each attempt sends two statements: one reads the oldest event, and one writes the outage."""
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    mock_kafka.down()
    sizes = []
    outbox.run(Clockwork(waits=6), observer=Observer(on_wait=lambda *_: sizes.append(len(statements))), loop=True)
    assert {after - before for before, after in pairwise(sizes)} == {2}
    assert sum("INSERT INTO payctl.publishers" in each for each in statements[: sizes[-1]]) == len(sizes)


@pytest.mark.usefixtures("short_probe")
@pytest.mark.parametrize("shards", [1, 2])
def test_the_record_of_an_outage_makes_no_other_publisher_rescan(outbox, mock_kafka, engine, shards):
    """A publisher keeps its cached state of its shard after another publisher could not reach its brokers."""
    with engine.begin() as connection:
        assert shard_lock.enter(connection, 0, shards, 0, "us") is shard_lock.Entry.TAKEN_OVER
    mock_kafka.down()
    outbox.run(Clockwork())
    with engine.begin() as connection:
        assert shard_lock.enter(connection, 0, shards, 0, "us") is shard_lock.Entry.UNCHANGED


@pytest.mark.usefixtures("short_probe")
def test_a_publisher_that_may_not_write_the_record_still_waits(outbox, mock_kafka, engine):
    """If the record of an outage cannot be written, the publisher waits for its brokers and then publishes."""
    outbox.insert(3)
    mock_kafka.down()
    refuse_outages(engine)
    report = outbox.run(Clockwork(waits=9, at={3: mock_kafka.up}), loop=True)
    assert (report.failure, report.counts.published) == (None, 3)


@pytest.mark.usefixtures("short_probe")
def test_a_publisher_that_may_not_record_its_outage_still_records_its_end(outbox, mock_kafka, engine, look):
    """If the record of an outage cannot be written, a publisher that ends is still seen as ended."""
    outbox.insert(3)
    refuse_outages(engine)
    clockwork = Clockwork(at={1: mock_kafka.down})
    report = outbox.run(clockwork, observer=Observer(on_wait=lambda *_: clockwork.set()), loop=True, shards=2)
    found = look()
    assert (report.stopped_because, found.activity, found.last.ended) == ("signal", "between_runs", True)


def test_an_idle_session_belongs_to_the_publisher_that_reaches_its_brokers(engine, look):
    """An idle session shows that a publisher is running, unless the publisher could not reach its brokers."""
    rows = (
        "(1, 'dead:1:x cannot reach its brokers: no', clock_timestamp() - interval '10 s'),"
        " (1000, 'idle:2:y', clock_timestamp() - interval '25 s')"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO payctl.publishers VALUES {rows}")  # noqa: S608 - only constants
    with engine.connect() as session:
        session.exec_driver_sql(f"SET application_name = '{publishers.APPLICATION}'")
        session.commit()
        found = look()
        session.invalidate()
    assert (found.activity, found.last.name) == ("running", "idle:2")


@pytest.mark.parametrize(
    ("age", "later", "names"),
    [
        ("20 s", True, {"host:12", "host:13"}),
        ("20 s", False, {"host:12", "host:13"}),
        ("1 h", True, {"host:13"}),
        ("1 h", False, {"host:12", "host:13"}),
    ],
)
def test_an_outage_that_is_over_is_not_shown(outbox, engine, age, later, names):
    """A publisher that could not reach its brokers long ago is not shown if another publisher was seen since."""
    since = f"clock_timestamp() - interval '{age}'"
    other = f"{since} {'+' if later else '-'} interval '5 s'"
    rows = f"(1, 'host:12:x ended without its brokers: no', {since}), (1000, 'host:13:y ended', {other})"
    outbox.execute(f"INSERT INTO payctl.publishers VALUES {rows}")  # noqa: S608 - only constants are put in
    with engine.connect() as connection:
        assert {one.name for one in publishers.seen(connection)[0]} == names
