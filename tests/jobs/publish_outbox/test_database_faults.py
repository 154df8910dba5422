"""Test that a publisher loses no event if the database restarts, locks rows, times out or is read-only."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import psycopg2
import pytest

from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD, OLD, Clockwork, new_producer
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Observer
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.settings import KafkaSettings

TERMINATE = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle in transaction'
      AND query ILIKE %(like)s
"""


@pytest.fixture
def limits(monkeypatch):
    """Return a function that changes the time limits of the publisher's transactions, in seconds."""

    def limit(**values):
        changed = replace(LIMITS, **{name: timedelta(seconds=seconds) for name, seconds in values.items()})
        for module in ("pipeline", "run"):
            monkeypatch.setattr(f"ticketbottle_payctl.jobs.publish_outbox.{module}.LIMITS", changed)

    return limit


@contextmanager
def another_session(outbox, sql, **values):
    """Keep a transaction open in another session during the ``with`` block."""
    with outbox.engine.connect() as connection:
        connection.exec_driver_sql(sql, values)
        yield connection
        connection.rollback()


def only_copies(verdict, most):
    """Return whether copies are the only fault in the verdict. Assert that there are at most ``most`` copies."""
    assert sum(verdict.duplicates.values()) <= most
    return verdict == replace(GOOD, duplicates=verdict.duplicates)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_database_restart_during_a_drain_loses_no_event(outbox, postgres, mode):
    """After a database restart, a publisher loop continues, and at most the open batch is sent twice."""
    outbox.insert(400, aggregates=150, age=OLD)
    restarted = []

    def batch(counts):
        if counts.batches == 3 and not restarted:
            restarted.append(postgres.restart(mode))

    clockwork = Clockwork(waits=30)
    report = outbox.run(clockwork, observer=Observer(on_progress=batch), loop=True, batch_size=20)
    assert restarted
    assert set(outbox.states()) == {"published"}
    assert report.stopped_because == "signal"
    assert only_copies(outbox.verdict(), most=20)


class Sabotage(Producer):
    """A producer that calls a function before or after it sends its n-th wave."""

    def __init__(self, bootstrap, number, *, before=None, after=None):
        super().__init__(producer_config(KafkaSettings(bootstrap)))
        self.left, self.before, self.after = number, before, after

    def send(self, wave, *arguments):
        """Send the wave. If it is the n-th wave, cause the fault before or after sending."""
        self.left -= 1
        if self.left == 0 and self.before:
            self.before()
        failures = super().send(wave, *arguments)
        if self.left == 0 and self.after:
            self.after()
        return failures


@pytest.mark.parametrize("number", [1, 2, 3, 6])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_terminated_session_sends_no_more_of_its_claim(outbox, number, when):
    """If the database ends a claim's session, at most one batch is sent twice, and no event uses up a retry."""
    outbox.insert(60, aggregates=25, age=OLD)
    harm = {when: lambda: outbox.execute(TERMINATE, like="%UPDATE outbox%")}
    producer = Sabotage(outbox.bootstrap, number, **harm)
    if number == 1:
        with pytest.raises(DatabaseUnavailableError):
            outbox.publish(producer=producer, batch_size=10)
    else:
        report = outbox.publish(producer=producer, batch_size=10)
        assert (report.stopped_because, report.failure.code) == ("database_unavailable", "DATABASE_UNAVAILABLE")
        assert report.counts.published == outbox.states().count("published") == 10 * (number - 1)
    producer.close()
    assert {row.retry_count for row in outbox.rows()} == {0}
    assert outbox.publish(batch_size=10).stopped_because == "empty"
    assert set(outbox.states()) == {"published"}
    assert only_copies(outbox.verdict(), most=0 if when == "before" else 10)


def test_a_claim_lost_during_an_outage_is_not_sent_after_it(outbox, mock_kafka):
    """If a publisher loses a claim during an outage, its queued messages are not sent after the outage.

    Another publisher might already have sent the payment's next event.
    """
    failed, completed = outbox.add("k", FAILED, age=9), outbox.add("k", COMPLETED, age=8)
    producer = new_producer(mock_kafka.bootstrap)
    producer.probe(5)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(outbox.publish, producer=producer, observer=Observer(on_ready=mock_kafka.down))
        deadline = time.monotonic() + 20
        while not outbox.execute(TERMINATE, like="%UPDATE outbox%"):
            assert time.monotonic() < deadline
        with pytest.raises(DatabaseUnavailableError):
            run.result(10)
    mock_kafka.up()
    outbox.publish()
    producer.close()
    assert (outbox.sent(), outbox.verdict()) == ([failed, completed], GOOD)


@pytest.mark.parametrize("batch_size", [1, 10, 1000])
def test_a_locked_row_holds_back_only_its_payment(outbox, limits, batch_size):
    """A locked row delays only the events of its payment, which are published in order after the row is unlocked."""
    limits(lock=0.1)
    outbox.insert(15, age=OLD)
    held = outbox.add("k", FAILED, age=9)
    behind = outbox.add("k", COMPLETED, age=8)
    outbox.insert(15, age=timedelta(seconds=4))
    with another_session(outbox, "SELECT 1 FROM outbox WHERE id = %(id)s FOR UPDATE", id=held):
        report = outbox.publish(batch_size=batch_size)
        assert (report.stopped_because, report.counts.published) == ("empty", 30)
    assert (outbox.row(held).state, outbox.row(behind).state) == ("pending", "pending")
    assert outbox.publish().counts.published == 2
    assert outbox.verdict() == GOOD


def test_a_loop_publishes_a_locked_row_soon_after_its_unlock(outbox, limits):
    """A loop publishes other events while a row is locked, and publishes the row's event soon after the unlock."""
    limits(lock=0.05)
    held = outbox.add("k")
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SELECT 1 FROM outbox WHERE id = %s FOR UPDATE", (held,))
        at = {n: lambda: outbox.insert(3) for n in (3, 6, 9)} | {40: other.rollback}
        clockwork = Clockwork(waits=60, at=at)
        noted = {}
        observer = Observer(on_progress=lambda counts: noted.setdefault(counts.published, clockwork.now))
        report = outbox.run(clockwork, observer=observer, loop=True)
    assert (report.counts.published, outbox.verdict()) == (10, GOOD)
    assert noted[9] - 1000 < 2


def test_a_claim_waits_for_a_short_lock(outbox):
    """If a row is unlocked within the lock timeout, the claim waits for the row, and one batch contains all events."""
    outbox.insert(5)
    held = outbox.add("k")
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SELECT 1 FROM outbox WHERE id = %s FOR UPDATE", (held,))
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        report = outbox.publish()
        timer.join()
    assert (report.counts.published, report.counts.batches, outbox.verdict()) == (6, 1, GOOD)


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_a_row_that_changes_during_a_claim_is_not_overtaken(outbox, batch_size):
    """If a row changes during a claim, the claim omits the row's event, and later events of the same payment wait."""
    outbox.insert(2, age=OLD)
    # Both are in one topic, because messages of two topics may have the same time, in milliseconds.
    first, second = outbox.add("k", COMPLETED, age=9), outbox.add("k", COMPLETED, age=8)
    outbox.insert(1, age=timedelta(seconds=4))
    with outbox.engine.connect() as other:
        other.exec_driver_sql("""UPDATE outbox SET "lastError" = 'touched' WHERE id = %s""", (first,))
        timer = threading.Timer(0.3, other.commit)
        timer.start()
        report = outbox.publish(batch_size=batch_size)
        timer.join()
    assert (report.counts.published, outbox.verdict()) == (5, GOOD)
    assert outbox.sent().index(first) < outbox.sent().index(second)


def test_a_row_that_another_session_publishes_during_a_claim_is_not_sent(outbox):
    """If another session marks an event as published during a claim, payctl does not send the event."""
    outbox.insert(2)
    marked = outbox.add("k")
    with outbox.engine.connect() as other:
        other.exec_driver_sql("UPDATE outbox SET published = true WHERE id = %s", (marked,))
        timer = threading.Timer(0.3, other.commit)
        timer.start()
        outbox.publish()
        timer.join()
    assert marked not in outbox.sent()
    assert outbox.verdict(sent_before=[marked]) == GOOD


def test_a_claim_that_exceeds_the_statement_timeout_sends_nothing(outbox, limits):
    """If a claim exceeds the statement timeout, none of its events are sent."""
    outbox.insert(200)
    limits(statement=0.001)
    with pytest.raises(DatabaseUnavailableError):
        outbox.publish()
    limits()
    assert outbox.messages() == []
    assert outbox.publish().counts.published == 200
    assert outbox.verdict() == GOOD


def test_a_loop_waits_while_the_database_is_read_only(outbox, database_url):
    """While the database is read-only, as in a failover, a publisher loop waits. Then the loop drains the outbox."""
    outbox.insert(30)
    name = database_url.rpartition("/")[2]

    def read_only(on, *statements):
        with psycopg2.connect(database_url, options="-c default_transaction_read_only=off") as session:
            for statement in (f"ALTER DATABASE {name} SET default_transaction_read_only = {on}", *statements):
                session.cursor().execute(statement)
        session.close()
        outbox.engine.dispose()

    three_more = """
        INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload)
        SELECT gen_random_uuid(), i, 'payment', 'PAYMENT_COMPLETED', '{}' FROM generate_series(1, 3) AS i
    """
    said = []
    clockwork = Clockwork(waits=12, at={1: lambda: read_only("on", three_more), 6: lambda: read_only("off")})
    observer = Observer(on_wait=lambda error, _: said.append(error.code))
    report = outbox.run(clockwork, observer=observer, loop=True)
    assert "DATABASE_UNAVAILABLE" in said
    assert (report.counts.published, outbox.verdict()) == (33, GOOD)


def test_a_run_that_loses_a_table_reports_its_published_events(outbox):
    """If a table disappears during a publisher run, the report contains the counts and the reason."""
    outbox.insert(30)

    def take_away(_tally):
        outbox.execute("ALTER TABLE payctl.event_context RENAME TO event_contexts")

    report = outbox.publish(observer=Observer(on_progress=take_away), batch_size=10)
    outbox.execute("ALTER TABLE payctl.event_contexts RENAME TO event_context")
    assert (report.stopped_because, report.failure.code) == ("failed", "CONFIG")
    assert report.counts.published == outbox.states().count("published") == 10


def test_without_payctl_s_schema_the_error_names_the_command(outbox):
    """If payctl's schema is missing, the publisher's error names `payctl db upgrade`."""
    outbox.execute("DROP SCHEMA payctl CASCADE")
    outbox.insert(1)
    with pytest.raises(ConfigError) as caught:
        outbox.publish()
    assert "payctl db upgrade" in caught.value.hint
    assert outbox.messages() == []
