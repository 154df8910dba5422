"""Test each writer of outbox rows with a delay at each step, while a publisher drains newer events."""

from __future__ import annotations

import ast
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import event

import ticketbottle_payctl
from tests.conftest import engine_of
from tests.jobs.process_webhook.conftest import Shop
from tests.jobs.publish_outbox.conftest import COMPLETED, FAILED, GOOD
from ticketbottle_payctl.broker.config import connection_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.domain.callback import Callback, Outcome
from ticketbottle_payctl.domain.late_commits import IDLE_WITHIN, LATE_COMMITS, WRITE_WITHIN
from ticketbottle_payctl.domain.payment import PaymentStatus
from ticketbottle_payctl.domain.settlement import Transition
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.cdc import cut_over
from ticketbottle_payctl.jobs.reconcile.settle_payments import settle_findings
from ticketbottle_payctl.jobs.reconcile.status_poller import StatusFinding
from ticketbottle_payctl.sandbox.callbacks import Scenario
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db.pool import is_closed_by_server
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, MARKING_GROUP, UNROUTABLE
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun
from ticketbottle_payctl.store.payments import overdue
from ticketbottle_payctl.store.payments import settle as payments

PACKAGE = Path(ticketbottle_payctl.__file__).parent
TOO_LONG = (WRITE_WITHIN + IDLE_WITHIN) / 2
"""A delay above the writer's limit but below the idle limit.

If the delay exceeded the idle limit, the server would end the session before the writer checks its own limit.
"""


def webhook(shop, payment):
    """Settle a payment as FAILED with a callback."""
    shop.process(payment, Scenario.FAILED)


def reconcile(shop, payment):
    """Settle a payment as FAILED with a gateway's response to a status query."""
    with shop.engine.connect() as connection:
        (found,) = overdue.named(connection, [payment.id])
    callback = Callback("momo", Outcome.FAILED, payment.reference, payment.order_code, "7", payment.amount)
    verdict = Transition(PaymentStatus.PENDING, PaymentStatus.FAILED, shop.now(), late=False)
    finding = StatusFinding(found, "failed", callback=callback, verdict=verdict)
    run = NewRun(str(uuid4()), "reconcile payments", Actor("tester", "here"))
    settle_findings(shop.engine, [finding], run, stop=threading.Event())


WRITERS = {"jobs/process_webhook/__init__.py": webhook, "jobs/reconcile/settle_payments.py": reconcile}
"""Functions that write events.

Each key is the file that calls the write statement. A separate test covers ``cdc cut-over``.
"""


def imports(path):
    """Yield the full names of all modules and objects that the file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_with(condition):
    """Return the files in the package for which the condition is true, except those in the sandbox."""
    files = (path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts)
    return {path.relative_to(PACKAGE).as_posix() for path in files if condition(path)}


def test_every_writer_of_outbox_rows_is_tested():
    """This test file names every file that can insert an event or make an event pending."""
    statement = "ticketbottle_payctl.store.payments.settle"
    assert files_with(lambda path: any(name.startswith(statement) for name in imports(path))) == WRITERS.keys()
    inserts = files_with(lambda path: "insert into outbox" in path.read_text("utf-8").lower())
    assert inserts == {"store/payments/settle.py"}
    # claim.py runs while the publisher holds the shard's lock. The tests in tests/jobs/replay cover replay.py.
    requeues = files_with(lambda path: "set published = false" in path.read_text("utf-8").lower())
    assert requeues == {"store/outbox/claim.py", "store/outbox/replay.py"}
    senders = files_with(lambda path: "claim_these(" in path.read_text("utf-8"))
    assert senders == {"store/outbox/cdc.py", "jobs/cdc/cut_over.py"}


@contextmanager
def slow_table(shop, table):
    """Make each insert into a table take longer than the writer's limit."""
    shop.query(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS"
        f" 'BEGIN PERFORM pg_sleep({TOO_LONG.total_seconds()}); RETURN NEW; END';"
        f"CREATE TRIGGER dawdle BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION dawdle(); SELECT 1 AS done"
    )
    yield
    shop.query("DROP FUNCTION dawdle CASCADE; SELECT 1 AS done")


@contextmanager
def before_the_write(_shop, monkeypatch):
    """Delay the process after it locks the payment and before it writes."""
    settle = payments.settle

    def late(connection, *values):
        time.sleep(TOO_LONG.total_seconds())
        settle(connection, *values)

    with monkeypatch.context() as patch:
        patch.setattr(payments, "settle", late)
        yield


@contextmanager
def in_the_write(shop, _monkeypatch):
    """Delay the write."""
    with slow_table(shop, "outbox"):
        yield


@contextmanager
def beside_the_write(shop, _monkeypatch):
    """Delay the statement that records the run's item in the same transaction."""
    with slow_table(shop, "payctl.run_items"):
        yield


@contextmanager
def before_the_commit(shop, _monkeypatch):
    """Delay the commit until the server ends the session or until the event is too late."""

    def stall(connection):
        session = connection.connection.dbapi_connection
        with session.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'outbox'::regclass"
            )
            (wrote,) = cursor.fetchone()
        deadline = time.monotonic() + (LATE_COMMITS.total_seconds() if wrote else 0)
        while time.monotonic() < deadline and not is_closed_by_server(session):
            time.sleep(0.01)

    event.listen(shop.engine, "commit", stall)
    yield
    event.remove(shop.engine, "commit", stall)


def keep_adding(outbox, stop):
    """Insert newer events of another payment until ``stop`` is set."""
    while not stop.wait(0.05):
        outbox.add("other")


@pytest.mark.parametrize("delayed", [before_the_write, in_the_write, beside_the_write, before_the_commit])
@pytest.mark.parametrize("write", WRITERS.values())
def test_a_late_event_is_committed_in_time_or_rolled_back(outbox, database_url, monkeypatch, write, delayed):
    """A delayed event is either committed within the limit or rolled back, so a payment's events stay in order."""
    shop, stop = Shop(engine_of(database_url)), threading.Event()
    payment = shop.payment("momo")
    publisher = threading.Thread(target=lambda: outbox.publish(stop=stop, loop=True))
    others = threading.Thread(target=keep_adding, args=(outbox, stop))
    publisher.start()
    others.start()
    try:
        with delayed(shop, monkeypatch):
            with suppress(DatabaseUnavailableError):
                write(shop, payment)
            now = shop.now().replace(tzinfo=None)
        assert all(now - row["createdAt"] < TOO_LONG for row in shop.events(payment))
        if not shop.events(payment):
            write(shop, payment)
        shop.process(payment, Scenario.PAID)
    finally:
        stop.set()
        others.join()
        publisher.join()
    shop.engine.dispose()
    outbox.publish()
    assert [row["eventType"] for row in shop.events(payment)] == [FAILED, COMPLETED]
    assert outbox.verdict() == GOOD


def test_a_run_claims_again_if_a_row_was_changed_while_it_waited_for_it(outbox):
    """If a row changes while a claim waits for the row, the publisher discards this claim and claims again."""
    first, second = outbox.add("k", FAILED), outbox.add("other", COMPLETED)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%WITH picked AS%%' AND wait_event_type = 'Lock'"
    reports = []
    thread = threading.Thread(target=lambda: reports.append(outbox.publish()))
    with outbox.engine.begin() as writer:
        writer.exec_driver_sql(
            'UPDATE outbox SET published = true, "publishedAt" = "createdAt" WHERE id = %s', (first,)
        )
        thread.start()
        wait_until(lambda: outbox.execute(waiting), what="the claim waits for the writer", timeout=20)
    thread.join(30)
    (report,) = reports
    assert (report.stopped_because, report.partial, outbox.sent()) == ("empty", False, [second])


@pytest.mark.usefixtures("logical")
def test_a_cut_over_sends_an_event_that_is_committed_late(outbox, mock_kafka):
    """If an old event is committed while a cut-over creates its slot, it is sent before the payment's next event."""
    mock_kafka.create_topic(UNROUTABLE)
    outbox.execute("CREATE PUBLICATION payctl_outbox FOR TABLE outbox WITH (publish = 'insert')")
    follower = Follower(connection_config(KafkaSettings(outbox.bootstrap)), MARKING_GROUP, ALL_TOPICS)
    reports = []

    def hand_over():
        reports.append(cut_over.cdc_cut_over(outbox.engine, outbox.producer, follower, max_retries=5, shards=1))

    waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE_REPLICATION_SLOT%%' AND wait_event_type = 'Lock'"
    thread = threading.Thread(target=hand_over)
    with outbox.engine.begin() as writer:
        insert = """INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
            VALUES ('late', 'k', 'payment', %s, '{}', clock_timestamp() AT TIME ZONE 'UTC' - interval '1 minute')"""
        writer.exec_driver_sql(insert, (FAILED,))
        newer = outbox.add("k", COMPLETED)
        thread.start()
        wait_until(lambda: outbox.execute(waiting), what="the slot waits for the writer", timeout=20)
    thread.join(30)
    after = outbox.add("k", COMPLETED)  # an event that Debezium must send
    follower.close()
    outbox.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    (report,) = reports
    assert (report.sent, report.failed, outbox.sent()) == (2, 0, ["late", newer])
    assert [outbox.row(id_).published for id_ in ("late", newer)] == [True, True]
    assert outbox.row(after).state == "pending"
    outbox.publish()
    assert outbox.verdict() == GOOD
