"""Test what a replay advises while a pending failure event would take the tickets of a paid order."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.replay.test_stopped import OWNER, WAITS
from tests.late_failure import insert_late_failure, slow_down_payments
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres
PREVIEW = "payctl publish-outbox -n"
STOP = "stop all publishers, because the pending failure event of the paid order"
ENDED = OWNER.format(1000, "host:12:x ended")


@pytest.fixture
def late(engine):
    """Insert four dead events and the pending failure event of a paid order. Return the failure event's id."""
    with engine.begin() as connection:
        insert_events(connection, 4, state="dead", age=timedelta(minutes=10), last_error="TIMED_OUT: no")
        return insert_late_failure(connection)


@pytest.mark.parametrize(
    "sign", [None, ENDED, ENDED.replace("20 s", "5 min")], ids=["never", "ended", "ended long ago"]
)
def test_a_waiting_canary_advises_a_dry_run_while_a_failure_is_pending(late, invoke, engine, database_url, sign):
    """The note and the result name the failure event, say what to do first, and call the command a dry run."""
    if sign:
        with engine.begin() as connection:
            connection.exec_driver_sql(sign)
    result = invoke(*WAITS[:-1], "300ms", DATABASE_URL=database_url)
    (note,) = [line for line in result.stderr.splitlines() if "publish-outbox" in line]
    assert note.startswith(f"before a publisher runs, {STOP} {late}")
    assert note.endswith(f": {PREVIEW}")
    assert "if none is scheduled" not in result.stderr
    assert ("the canary waits" in result.stderr) is (sign == ENDED)
    lines = result.stdout.splitlines()
    place = lines.index(f"dry run\t{PREVIEW}")
    assert lines[place - 1].startswith(f"before publishing\t{STOP} {late}")
    assert lines[place + 1].startswith("then\tpayctl runs resume ")


def test_a_finished_replay_advises_a_dry_run_while_a_failure_is_pending(late, invoke, database_url):
    """A replay, and `runs show` of the same run, do not offer the dry run as the command of a publisher."""
    done = invoke("replay", "--failed", "-y", DATABASE_URL=database_url).stdout
    run = re.search(r"^run\t(\S+)", done, re.MULTILINE)
    for shown in (done, invoke("runs", "show", run[1], DATABASE_URL=database_url).stdout):
        lines = shown.splitlines()
        assert lines[lines.index(f"dry run\t{PREVIEW}") - 1].startswith(f"before publishing\t{STOP} {late}")
        assert "if no publisher runs" not in shown


def test_a_waiting_canary_does_not_wait_for_a_slow_search(late, invoke, engine, database_url):
    """The note about the canary appears after one second, and says that the payments were not read.

    The result may wait longer for the same search, so it names the failure event.
    """
    with engine.begin() as connection:
        slow_down_payments(connection, 3)
    result = invoke(*WAITS[:-1], "300ms", DATABASE_URL=database_url)
    (note,) = [line for line in result.stderr.splitlines() if "publish-outbox" in line]
    assert "could not read" in note
    assert f"{STOP} {late}" in result.stdout
