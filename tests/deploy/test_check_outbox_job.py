"""Test the job that checks the outbox in a cluster. The tests run its command on a real database."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from deploy.alarms import ALARMS
from ticketbottle_payctl.sandbox.payment_service import insert_events

OLD = """UPDATE outbox SET "createdAt" = "createdAt" - interval '11 minutes'"""
DEAD = """UPDATE outbox SET "retryCount" = 5, "lastError" = 'MSG_SIZE_TOO_LARGE: x'"""


@pytest.fixture(scope="module")
def arguments(root):
    """Return the arguments of the job's container."""
    job = yaml.safe_load((root / "deploy" / "kubernetes" / "check-outbox.yaml").read_text("utf-8"))
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return container["args"]


@pytest.mark.parametrize(
    ("events", "change", "code"),
    [(0, None, 0), (2, None, 0), (2, OLD, 5), (2, DEAD, 5)],
    ids=["empty", "new", "old", "dead"],
)
def test_the_job_fails_if_events_wait_for_too_long_or_are_dead(
    arguments, payctl_command, database_url, engine, events, change, code
):
    """The job succeeds with new events, and fails with an event that is 11 minutes old or dead."""
    with engine.begin() as connection:
        if events:
            insert_events(connection, events, aggregates=1)
        if change:
            connection.exec_driver_sql(change)
    environ = {"DATABASE_URL": database_url, "ENVIRONMENT": "test"}
    done = subprocess.run(
        [*payctl_command, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["result"]["pending"] == (0 if change == DEAD else events)


def test_the_job_fails_if_the_database_is_unavailable(arguments, payctl_command):
    """The job fails with exit code 4 if no database answers."""
    environ = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/none", "ENVIRONMENT": "test"}
    done = subprocess.run(
        [*payctl_command, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 4, done.stderr


def test_the_job_has_the_limits_of_the_alarms(arguments):
    """The job allows events the same age as the OutboxStuck alarm, and as many dead events as DeadEvents."""
    limits = {alarm.name: alarm.above for alarm in ALARMS}
    given = dict(word.removeprefix("--").split("=") for word in arguments if "=" in word)
    assert given == {"max-age": f"{limits['OutboxStuck'] / 60:.0f}m", "max-failed": f"{limits['DeadEvents']:.0f}"}
