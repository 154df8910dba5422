"""Test that ``payctl publish-outbox`` does not report success if it cannot read which events are waiting."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.cli.commands.publish_outbox.test_waiting import dead_alone
from tests.cli.documents import validate
from ticketbottle_payctl.cli.commands.publish_outbox.result import result_of
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, PublishCounts, PublishReport, StoppedBecause

UNREAD = "it is unknown which events are still waiting"


@pytest.mark.parametrize("options", [[], ["--loop", "--deadline", "1s"]], ids=["drain", "loop"])
def test_publish_outbox_does_not_report_success_if_waiting_events_are_unknown(
    invoke, places, add, monkeypatch, options
):
    """If `publish-outbox` cannot read which events wait, its first line says so, and its exit code is 4."""
    with monkeypatch.context() as slowly:
        slowly.setattr("ticketbottle_payctl.jobs.publish_outbox.run._LOOK_LIMIT", timedelta(milliseconds=20))
        slowly.setattr(
            "ticketbottle_payctl.jobs.publish_outbox.run.look",
            lambda connection, *_: connection.exec_driver_sql("SELECT pg_sleep(5)"),
        )
        dead_alone(add)
        ran = invoke("publish-outbox", *options, **places)
        assert (ran.exit_code, ran.stdout) == (4, "")
        assert f"\nerror[DATABASE_UNAVAILABLE]: published 1 event, but {UNREAD}: " in ran.stderr
        add("later")
        document = json.loads(invoke("publish-outbox", *options, "-o", "json", **places).stdout)
    validate(document, "publish-outbox")
    assert (document["exit_code"], document["ok"], document["counts"]["published"]) == (4, False, 1)
    assert (document["error"]["code"], document["error"]["retryable"]) == ("DATABASE_UNAVAILABLE", True)
    assert document["result"]["dead_in_outbox"] is None
    assert invoke("publish-outbox", **places).exit_code == 6


@pytest.mark.parametrize(
    ("counts", "reason", "signalled", "code", "words"),
    [
        (PublishCounts(dead=1), StoppedBecause.EMPTY, None, 6, f"{UNREAD}, 1 event died"),
        (PublishCounts(held=2), StoppedBecause.EMPTY, None, 6, f"{UNREAD}, held back 2 events"),
        (PublishCounts(), StoppedBecause.DEADLINE, None, 10, UNREAD),
        (PublishCounts(), StoppedBecause.LOCKED, None, 9, UNREAD),
        (PublishCounts(), StoppedBecause.SIGNAL, ExitCode.INTERRUPTED, 130, f"stopped by a signal, {UNREAD}"),
    ],
)
def test_another_exit_code_also_says_that_the_rest_is_unknown(counts, reason, signalled, code, words):
    """If events died or were held back, or the run was stopped, `publish-outbox` exits with the code for that outcome.

    The first line also says that `publish-outbox` could not read which events are waiting.
    """
    obstacles = Obstacles(unread=DatabaseUnavailableError("the database took too long"))
    report = PublishReport(counts, reason, 2.0, obstacles)
    result = result_of(report, loop=False, signalled=signalled)
    assert (result.exit_code, result.error, result.human[0].parts[1].text) == (code, None, words)
