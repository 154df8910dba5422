"""Test with moto's server that the runbook's commands replay the events in the dead-event queue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_entrypoints import publish_outbox
from tests.conftest import IN_CI
from tests.lambda_entrypoints import events
from ticketbottle_payctl.aws.alerts import Pointer
from ticketbottle_payctl.cli.input.id_files import read_ids
from ticketbottle_payctl.sandbox.payment_service import insert_events

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
SCHEDULED = events.read("scheduler-publish-outbox.json")


@pytest.fixture
def runbook():
    """Return the runbook's commands for the DeadEventsWaiting alarm."""
    if shutil.which("aws") is None:
        (pytest.fail if IN_CI else pytest.skip)("the AWS CLI is not installed")
    (section,) = re.findall(r"^### DeadEventsWaiting\n(.*?)^### ", RUNBOOK.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    return block


@pytest.mark.timeout(180)  # the AWS CLI needs a second for each call
def test_the_runbooks_commands_replay_the_events_of_the_queue(
    runbook, called, engine, cloud, database_url, mock_kafka, tmp_path
):
    """The runbook's commands write the pointers from the queue to a file, replay the events, and empty the queue."""
    with engine.begin() as connection:
        insert_events(connection, 23, event_type="PAYMENT_UNHEARD_OF")
        insert_events(connection, 2, state="dead")
    queue = cloud.queue()
    environ = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_LOOP_SECONDS": "0"}
    called(publish_outbox.handler, SCHEDULED, PAYCTL_DEAD_EVENTS_QUEUE_URL=queue, **environ)
    with engine.begin() as connection:  # the operator corrects the events, because a replay leaves out unknown types
        correct = """UPDATE outbox SET "eventType" = 'PAYMENT_COMPLETED' WHERE "eventType" = 'PAYMENT_UNHEARD_OF'"""
        connection.exec_driver_sql(correct)
    script = runbook.replace("--from-file dead-events.ndjson", "--from-file dead-events.ndjson --yes")
    assert script != runbook
    aws = tmp_path / "bin" / "aws"  # version 1 of the AWS CLI ignores AWS_ENDPOINT_URL for SQS
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\nexec {shutil.which("aws")} --endpoint-url {cloud.url} "$@"\n')
    aws.chmod(0o755)
    path = f"{aws.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, **cloud.environ, "PATH": path, "DATABASE_URL": database_url, "QUEUE": queue}
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", script],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_ids(str(tmp_path / "dead-events.ndjson"))) == 23
    with engine.connect() as connection:
        states = connection.exec_driver_sql(
            'SELECT "eventType", count(*) FROM outbox WHERE "retryCount" = 0 GROUP BY 1'
        )
        assert dict(tuple(row) for row in states) == {"PAYMENT_COMPLETED": 23}
    assert cloud.messages(queue) == []


def test_a_replay_accepts_the_queue_s_messages_as_lines_of_a_file(tmp_path):
    """If SQS delivers a pointer twice, the replay uses the pointer's event id only once."""
    body = Pointer("event-1", "payment-1", "PAYMENT_COMPLETED", 5, "UNKNOWN_EVENT_TYPE").body
    file = tmp_path / "dead-events.ndjson"
    file.write_text(f"{body}\n{body}\n")
    assert read_ids(str(file)) == ("event-1",)
