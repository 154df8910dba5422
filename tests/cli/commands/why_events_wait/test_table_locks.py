"""Test that if another session's table lock stops a command, the command helps to find this session."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, PublishCounts, PublishReport, StoppedBecause

pytestmark = pytest.mark.postgres
SECONDS = timedelta(seconds=20)
MINUTE = timedelta(minutes=1)
DOCTOR = "payctl doctor --only backlog"
LOCK = "lock timeout: another session has locked a table or a row that payctl needs"


@pytest.fixture
def locked(engine):
    """Return a context manager that holds a lock on a table, and yields the holder's process id."""

    @contextmanager
    def run(mode, table="outbox"):
        with engine.connect() as holder:
            holder.exec_driver_sql(f"LOCK TABLE {table} IN {mode} MODE")
            yield holder.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            holder.rollback()

    return run


@pytest.fixture
def order(engine):
    """Insert a paid order whose success event waits for a publisher, and one whose success event is dead."""
    Orders(engine).pay("COMPLETED", order_code="TB-DEAD", age=MINUTE).event(age=MINUTE, retries=5, error="TIMED_OUT")
    return Orders(engine).pay("COMPLETED", order_code="TB-WAITS", age=MINUTE).event(age=SECONDS)


CHANGING = [["publish-outbox"], ["replay", "--failed", "-y"]]
READING = [["show", "TB-WAITS"], ["publish-outbox", "-n"], ["doctor", "--only", "publishers"]]


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE"])
@pytest.mark.parametrize("arguments", CHANGING, ids=" ".join)
def test_a_command_that_changes_the_outbox_names_the_doctor_during_a_table_lock(invoke, world, locked, arguments, mode):
    """If a lock on the outbox stops a command, the command says so, and suggests the check that shows the holder."""
    with locked(mode):
        ran = invoke(*arguments, **world)
    assert ran.exit_code in {4, 6}
    assert (LOCK in ran.stdout + ran.stderr, DOCTOR in ran.stdout + ran.stderr) == (True, True)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_command_that_reads_the_outbox_names_the_doctor_during_a_table_lock(invoke, world, locked, arguments):
    """If a lock keeps a command from reading the outbox, the command suggests the check that shows the holder."""
    with locked("ACCESS EXCLUSIVE"):
        ran = invoke(*arguments, **world)
    assert ran.exit_code in {4, 5}
    assert (LOCK in ran.stdout + ran.stderr, DOCTOR in ran.stdout + ran.stderr) == (True, True)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("mode", ["EXCLUSIVE", "SHARE"])
def test_a_waiting_event_and_a_dry_run_name_the_holder_of_a_table_lock(invoke, world, locked, mode):
    """If a lock stops only the publishers, `stats`, `show` and a dry run name the session that holds the lock.

    `stats` and `show` print the statement that ends the session. The dry run refers to `stats`.
    """
    with locked(mode) as pid:
        shown = {name: invoke(*name.split(), **world) for name in ("stats", "show TB-WAITS", "publish-outbox -n")}
    for name, ran in shown.items():
        assert f"the outbox table is locked by pid {pid}, " in ran.stdout + ran.stderr, name
    for name in ("stats", "show TB-WAITS"):
        assert f"SELECT pg_terminate_backend({pid});\n" in shown[name].stdout
    lines = shown["publish-outbox -n"].stdout.splitlines()
    assert lines[-2:] == ["dry run:  nothing was changed. Before you publish:", "  payctl stats"]


def test_a_run_names_the_lock_that_hides_which_events_wait(invoke, world, locked, order):
    """If a lock on another table hides which events wait, `publish-outbox` names the lock and `payctl doctor`."""
    order.event(retries=4, error="INVALID_REQUEST: no", age=SECONDS / 2)
    with locked("ACCESS EXCLUSIVE", "payments"):
        ran = invoke("publish-outbox", **world)
    first = " ".join(ran.stdout.split())
    assert first.startswith(f"! it is unknown which events are still waiting, {LOCK}, held back 1 event"), ran.stdout
    assert f"  next:  {DOCTOR}\n" in ran.stdout


class LockError(Exception):
    """The driver's error after a lock timeout."""

    orig = SimpleNamespace(pgcode="55P03")


@pytest.mark.parametrize(
    ("field", "first"), [("away", LOCK), ("unread", f"it is unknown which events are still waiting, {LOCK}")]
)
def test_a_loop_that_ends_during_a_lock_timeout_names_the_doctor(field, first):
    """If a loop reaches its deadline during a lock timeout, its result names the lock and `payctl doctor`."""
    error = DatabaseUnavailableError(LOCK)
    error.__cause__ = LockError()
    obstacles = Obstacles(**{field: error}, oldest_pending_age_s=9.0)
    report = PublishReport(PublishCounts(), StoppedBecause.DEADLINE, 9.0, obstacles)
    head, *rest = result_of(report, loop=True).human
    assert head.parts[1].text == first
    assert DOCTOR in repr(rest)


@pytest.mark.parametrize("table", ["payments", "payctl.webhook_receipts"])
def test_a_short_time_limit_does_not_hide_a_lock(invoke, world, locked, order, keys, table):
    """If a command waits at most five seconds for a statement, it still reports the lock instead of an outage."""
    arguments = {
        "payments": ["simulate", "momo", "paid", "--order-code", order.name, "--to", "process-webhook"],
        "payctl.webhook_receipts": ["process-webhook", "--receipt", "0eb95e60-0000-4000-8000-000000000000"],
    }
    with locked("ACCESS EXCLUSIVE", table):
        ran = invoke(*arguments[table], **world, **keys)
    assert (ran.exit_code, LOCK in ran.stderr, DOCTOR in ran.stderr) == (4, True, True), ran.stderr
