"""Test that ``payctl runs`` explains why a run ended early, and that its list fits in 80 columns."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.cli.money import refused_money
from ticketbottle_payctl.errors import LockedError
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment
from ticketbottle_payctl.store.db.engine import Limits
from ticketbottle_payctl.store.payctl import runs
from ticketbottle_payctl.store.payctl.run_lifecycle import open_run
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun, RunAction, RunStatus

pytestmark = pytest.mark.postgres
REASON = "the seats are sold, so release them"
RUN = "5d0c7a12-0f6b-4c86-8d0a-1e2f3a4b5c6d"
LIMITS = Limits(statement=timedelta(seconds=5))


@pytest.fixture
def failed(engine, database_url, process):
    """Run `publish-outbox --on-dead release` while no broker answers, and return the run's id."""
    with engine.begin() as connection:
        insert_events(connection, 1)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}
    options = ("--on-dead", "release", "--deadline", "5s", "--reason", REASON, "-o", "json")
    document = json.loads(process("publish-outbox", *options, **places).stdout)
    assert document["exit_code"] == 4
    return document["run_id"]


def test_a_run_says_which_error_ended_it(failed, ask, invoke, database_url):
    """After a Kafka outage, `runs show` prints the error's code, and says that nothing was changed."""
    result = ask("runs", "show", failed)["result"]
    assert (result["status"], result["ended_by"]) == ("incomplete", "KAFKA_UNAVAILABLE")
    assert "ended_by" not in result["options"]
    lines = invoke("runs", "show", failed, DATABASE_URL=database_url).stdout.splitlines()
    assert {"ended by\tKAFKA_UNAVAILABLE", "next\tnothing was changed; run the command again"} < set(lines)
    assert "run the command again" in ask("runs", "resume", failed, "-y")["error"]["hint"]
    cancelled = invoke("runs", "cancel", failed, "-y", DATABASE_URL=database_url).stdout
    assert "the run had already ended without finishing its work" in cancelled


def test_an_interrupted_run_says_which_error_ended_it(engine, ask):
    """If an error interrupts a run, `runs show` shows the error's code until the run ends in a different way."""
    with pytest.raises(LockedError), open_run(engine, NewRun(RUN, "replay", Actor("an", "here")), LIMITS):
        raise LockedError("held")  # noqa: EM101 - any message
    assert ask("runs", "show", RUN)["result"]["ended_by"] == "LOCKED"
    with engine.begin() as connection:
        runs.update(connection, RUN, RunStatus.DONE, {})
    assert ask("runs", "show", RUN)["result"]["ended_by"] is None


@pytest.mark.parametrize(
    ("command", "ended_by", "row"),
    [
        ("publish-outbox", "signal", "stopped because\tthe publisher received a signal"),
        ("publish-outbox", "deadline", "stopped because\tthe time limit was reached"),
        ("publish-outbox", "max_batches", "stopped because\tthe limit of --max-batches was reached"),
        ("publish-outbox", "locked", "stopped because\tanother process holds the outbox"),
        ("publish-outbox", "KAFKA_UNAVAILABLE", "ended by\tKAFKA_UNAVAILABLE"),
        ("cleanup", "signal", "ended by\tsignal"),
        ("replay", "signal", "stopped because\tthe replay received a signal"),
        ("replay", "deadline", "ended by\tdeadline"),
    ],
)
def test_a_run_ends_in_the_words_of_its_own_command(engine, database_url, invoke, command, ended_by, row):
    """`runs show` explains why a run stopped. If the command has no words for the reason, it prints the stored code."""
    with open_run(engine, NewRun(RUN, command, Actor("an", "here")), LIMITS) as opened:
        opened.end(RunStatus.INCOMPLETE, {}, ended_by=ended_by)
    lines = invoke("runs", "show", RUN, DATABASE_URL=database_url).stdout.splitlines()
    assert [line for line in lines if line.startswith(("stopped because", "ended by"))] == [row]


@pytest.mark.parametrize("command", ["publish-outbox", "cleanup"])
def test_an_interrupted_run_of_another_command_has_no_steps_of_a_replay(engine, database_url, invoke, command):
    """`runs show` suggests resuming a run only if the run is a replay."""
    with open_run(engine, NewRun(RUN, command, Actor("an", "here")), LIMITS) as opened:
        opened.end(RunStatus.INTERRUPTED, {}, ended_by="signal")
    assert "runs resume" not in invoke("runs", "show", RUN, DATABASE_URL=database_url).stdout


@pytest.mark.parametrize(("deed", "kept"), [(RunAction.RESUMED, None), (RunAction.CANCELLED, "LOCKED")])
def test_a_resumed_run_forgets_which_error_ended_it(deed, kept, engine, ask):
    """While a resumed run is running, `runs show` does not name the earlier error. A cancelled run keeps its error."""
    with pytest.raises(LockedError), open_run(engine, NewRun(RUN, "replay", Actor("an", "here")), LIMITS):
        raise LockedError("held")  # noqa: EM101 - any message
    with engine.begin() as connection:
        assert runs.act(connection, RUN, deed, Actor("an", "here"), "again")
    assert ask("runs", "show", RUN)["result"]["ended_by"] == kept


@pytest.mark.parametrize(
    ("command", "status", "selector"),
    [
        ("publish-outbox", RunStatus.INCOMPLETE, {}),
        ("doctor --fix-published-flags", RunStatus.INTERRUPTED, {}),
        ("close", RunStatus.DONE, {"subject": "2026112351382274"}),
        ("close", RunStatus.DONE, {"subject": "x", "order_code": "TB-SUMMER-20261123-9E641D25"}),
    ],
)
def test_the_list_shows_the_reason_at_80_columns(command, status, selector, engine, terminal, database_url):
    """At 80 columns, `runs list` shows at least 20 characters of each reason.

    The list ends with a hint on how to see the complete reasons.
    """
    run = NewRun(RUN, command, Actor("an", "here"), reason=REASON, selector=selector)
    with engine.begin() as connection:
        runs.start(connection, run)
        runs.update(connection, RUN, status, {})
    with terminal("runs", "list", DATABASE_URL=database_url) as it:
        lines = it.wait_for("one of them").splitlines()
        assert any(REASON[:19] in line for line in lines), lines
        assert "full values: --wide; one of them: payctl runs show 5d0c7a12" in lines


def test_the_short_title_of_a_close_names_an_order_that_show_finds(engine, ask, terminal, database_url):
    """At 80 columns, `runs list` shows the end of a closed order's code, which `payctl show` accepts."""
    code = "TB-SUMMER-20261123-9E641D25"
    with engine.begin() as connection:
        refused_money(connection, insert_payment(connection, order_code=code))
    assert ask("close", code, "-y", "--reason", REASON)["exit_code"] == 0
    with terminal("runs", "list", DATABASE_URL=database_url) as it:
        assert "  close 9E641D25  " in it.wait_for("one of them")
    assert ask("show", "9E641D25")["result"]["order_code"] == code
