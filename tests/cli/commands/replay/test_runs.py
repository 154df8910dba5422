"""Test ``payctl runs`` with interrupted, resumed and cancelled runs, and with the operators' names."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.commands.replay.conftest import pending
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres


def test_a_signal_leaves_a_run_that_can_be_resumed(started, database_url, engine, ask):
    """After a signal, a replay finishes its transaction, exits with 143, and leaves a run that can be cancelled."""
    with engine.begin() as connection:
        insert_events(connection, 40, state="dead")
    process = started("replay", "--failed", "-y", "--rate", "5/s", "-o", "json", DATABASE_URL=database_url)
    wait_until(lambda: pending(engine), what="the first events to be requeued", timeout=20)
    process.send_signal(signal.SIGTERM)
    document = json.loads(process.communicate(timeout=20)[0])
    assert (process.returncode, document["exit_code"], document["result"]["outcome"]) == (143, 143, "signal")
    assert document["counts"]["requeued"] == pending(engine) < 40
    run_id = document["run_id"]
    assert ask("runs", "show", run_id)["result"]["status"] == "interrupted"
    assert ask("runs", "resume", run_id)["exit_code"] == 7
    assert ask("runs", "cancel", run_id)["counts"]["remaining"] == 40 - pending(engine)
    assert ask("runs", "resume", run_id, "-y")["exit_code"] == 7


def test_an_interrupted_run_is_resumed(started, database_url, engine, ask):
    """`runs resume` requeues the remaining events of an interrupted run and continues the run's existing record."""
    with engine.begin() as connection:
        insert_events(connection, 6, state="dead")
    process = started("replay", "--failed", "-y", "--rate", "3/s", "-o", "json", DATABASE_URL=database_url)
    wait_until(lambda: pending(engine), what="the first events to be requeued", timeout=20)
    process.send_signal(signal.SIGINT)
    document = json.loads(process.communicate(timeout=20)[0])
    assert process.returncode == 130
    resumed = ask("runs", "resume", document["run_id"], "-y")
    assert (resumed["exit_code"], resumed["counts"]["requeued"], resumed["counts"]["remaining"]) == (0, 6, 0)
    assert pending(engine) == 6


@pytest.mark.usefixtures("dead")
def test_a_run_that_was_killed_is_interrupted_and_a_running_one_is_locked(started, invoke, database_url, engine, ask):
    """`runs resume` exits with 9 if the run is still running, and resumes a run whose process was killed."""
    arguments = ["replay", "--failed", "-y", "--canary", "2", "-o", "json"]
    process = started(*arguments, DATABASE_URL=database_url)
    wait_until(lambda: pending(engine), what="the canary to be requeued", timeout=20)
    (run,) = ask("runs", "list")["items"]
    assert run["status"] == "running"
    assert "runs resume" not in invoke("runs", "show", run["id"], DATABASE_URL=database_url).stdout
    assert ask("runs", "resume", run["id"], "-y")["exit_code"] == 9
    process.kill()
    process.wait()

    def status():
        return ask("runs", "show", run["id"])["result"]["status"]

    wait_until(lambda: status() == "interrupted", what="the server to notice", timeout=20)
    assert f"payctl runs resume {run['id']}" in invoke("runs", "show", run["id"], DATABASE_URL=database_url).stdout
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET published = true, "publishedAt" = now() WHERE "retryCount" = 0')
    resumed = ask("runs", "resume", run["id"], "-y", "--reason", "it was killed", PAYCTL_ACTOR="Linh")
    assert (resumed["exit_code"], resumed["counts"]["requeued"], status()) == (0, 3, "done")
    (act,) = ask("runs", "show", run["id"])["result"]["acts"]
    assert (act["deed"], act["actor"], act["reason"]) == ("resumed", "Linh", "it was killed")


@pytest.mark.usefixtures("dead")
def test_runs_show_names_the_person_who_cancelled_a_run(invoke, ask, database_url):
    """`payctl runs show` prints who cancelled a run and why."""
    run = ask("replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms")["run_id"]
    ask("runs", "cancel", run, "--reason", "the wrong ones", PAYCTL_ACTOR="Minh")
    (act,) = ask("runs", "show", run)["result"]["acts"]
    assert (act["deed"], act["actor"], act["reason"]) == ("cancelled", "Minh", "the wrong ones")
    shown = invoke("runs", "show", run, DATABASE_URL=database_url).stdout
    assert "cancelled\t" in shown
    assert "Minh (" in shown
    assert "the wrong ones" in shown


@pytest.mark.usefixtures("dead")
def test_ctrl_c_ends_a_replay_whose_canary_is_all_events(started, database_url, engine):
    """If a user presses Ctrl-C while `replay` waits for its canary, `replay` exits with 130."""
    arguments = ["replay", "--failed", "-y", "--canary", "9", "-o", "json"]
    process = started(*arguments, DATABASE_URL=database_url)
    wait_until(lambda: pending(engine), what="the canary to be requeued", timeout=20)
    process.send_signal(signal.SIGINT)
    document = json.loads(process.communicate(timeout=20)[0])
    assert (process.returncode, document["exit_code"], document["result"]["outcome"]) == (130, 130, "signal")


@pytest.mark.parametrize(("name", "code"), [("00000000-0000-4000-8000-000000000000", 8), ("zz", 2), ("%%%%", 2)])
@pytest.mark.parametrize("verb", ["show", "resume", "cancel"])
def test_an_unknown_run_exits_with_8_and_an_invalid_id_with_2(ask, verb, name, code):
    """`payctl runs show`, `resume` and `cancel` exit with 8 for an unknown run and with 2 for an invalid id."""
    assert ask("runs", verb, name)["exit_code"] == code


def test_resuming_a_run_names_its_superseded_events(invoke, ask, database_url, dead, engine):
    """If a run allows superseded events, the `runs resume` confirmation prompt names them."""
    stopped = ask("replay", "--failed", "--allow-superseded", "-y", "--canary", "1", "--canary-timeout", "1ms")
    assert (stopped["exit_code"], pending(engine)) == (10, 1)
    asked = invoke("runs", "resume", stopped["run_id"], DATABASE_URL=database_url)
    assert (asked.exit_code, "(1 of them superseded" in asked.stderr, dead[3] in asked.stderr) == (7, True, True)
    document = ask("runs", "resume", stopped["run_id"], "-y")
    assert (document["result"]["superseded_ids"], "INCLUDED" in document["warnings"][0]) == ([dead[3]], True)


@pytest.mark.usefixtures("dead")
def test_resuming_a_finished_run_changes_nothing_and_says_so(invoke, ask, database_url):
    """For a run that is done, `runs resume` says when the run ended.

    `runs resume` records nothing and exits with 0, even without -y.
    """
    run = ask("replay", "--failed", "-y")["run_id"]
    before = ask("runs", "show", run)
    resumed = invoke("runs", "resume", run, DATABASE_URL=database_url)
    assert (resumed.exit_code, resumed.stdout.splitlines()[0]) == (0, "✔  the run is already done; nothing was changed")
    labels = [line.partition("\t")[0] for line in resumed.stdout.splitlines() if "\t" in line]
    assert labels[:2] == ["run", "finished"]
    assert labels.count("run") == 1
    document = ask("runs", "resume", run, "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (0, 3)
    after = ask("runs", "show", run)
    assert (after["result"], after["items"]) == (before["result"], before["items"])


def test_a_resumed_run_keeps_its_approved_limit(ask, engine):
    """`runs resume` does not need --max-affected if a higher limit was approved for the run.

    An explicit --max-affected still applies.
    """
    with engine.begin() as connection:
        insert_events(connection, 1003, state="dead")
    arguments = ["--failed", "-y", "--canary", "1", "--canary-timeout", "1ms"]
    assert ask("replay", *arguments)["exit_code"] == 7
    run = ask("replay", *arguments, "--max-affected", "1500")["run_id"]
    assert ask("runs", "resume", run, "-y", "--max-affected", "1001")["exit_code"] == 7
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET published = true, "publishedAt" = now() WHERE "retryCount" = 0')
    resumed = ask("runs", "resume", run, "-y")
    assert (resumed["exit_code"], resumed["counts"]["requeued"]) == (0, 1003)


def test_the_help_of_the_list_says_which_runs_are_missing(invoke):
    """`payctl runs list --help` says that ordinary publish-outbox runs are not recorded."""
    text = " ".join(invoke("runs", "list", "--help").stdout.split())
    assert "A publish-outbox without --on-dead release is not recorded." in text
