"""Test the command ``payctl replay``."""

from __future__ import annotations

import re
import shlex

import pytest
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from tests.cli.commands.replay.conftest import pending
from ticketbottle_payctl.sandbox.payment_service import insert_events

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("arguments", [[], ["--limit", "5"], ["--allow-superseded"], ["-y", "--rate", "5/s"]])
def test_a_replay_without_a_selector_lists_the_selectors(ask, arguments):
    """Without a selector, `payctl replay` exits with 2 and lists the selectors. Only --all selects all events."""
    document = ask("replay", *arguments)
    assert document["exit_code"] == 2
    assert "--failed" in document["error"]["hint"]
    assert "--all" in document["error"]["hint"]


def test_a_replay_without_yes_shows_its_plan_and_changes_nothing(invoke, database_url, dead, engine):
    """Without --yes or a terminal, `payctl replay` shows its plan, changes nothing and exits with 7."""
    result = invoke("replay", "--failed", DATABASE_URL=database_url)
    assert result.exit_code == 7
    assert "set 3 events back to pending" in result.stderr
    assert f"{dead[3]}\tPAYMENT_FAILED\tsuperseded" in result.stderr
    assert "--yes" in result.stderr
    assert (result.stdout, pending(engine)) == ("", 0)


def test_a_replay_prints_one_complete_document(ask, dead, engine):
    """The JSON document of `replay` contains the counts, the run, and each omitted event with its reason."""
    document = ask("replay", "--failed", "-y", "--reason", "it is back", PAYCTL_ACTOR="Linh")
    assert document["exit_code"] == 0
    assert document["counts"] == {"matched": 4, "requeued": 3, "skipped": 1, "failed": 0, "already_published": 0}
    assert [(item["id"], item["reason"]) for item in document["items"]] == [(dead[3], "superseded")]
    assert "COMPLETED" in document["warnings"][0]
    assert pending(engine) == 3
    (run,) = ask("runs", "list")["items"]
    assert (run["id"], run["actor"], run["reason"], run["status"]) == (document["run_id"], "Linh", "it is back", "done")
    shown = ask("runs", "show", run["id"][:8])
    assert [item["outcome"] for item in shown["items"]] == ["skipped", "requeued", "requeued", "requeued"]
    assert shown["items"][1]["before"]["retry_count"] == 5


def test_a_dry_run_of_a_replay_changes_nothing(ask, dead, engine):
    """A dry run of a replay shows the plan and exits with 0."""
    document = ask("replay", *dead[:3], "-n")
    assert (document["exit_code"], document["dry_run"], document["result"]["planned"]) == (0, True, 3)
    assert (document["counts"]["requeued"], document["run_id"], pending(engine)) == (0, None, 0)


@pytest.mark.parametrize(
    ("which", "code", "requeued"),
    [([0, "nope"], 6, 1), (["nope"], 8, 0), ([3], 7, 0), ([0, 3], 6, 1), ([0], 0, 1)],
    ids=["some", "none", "superseded", "one of two", "all"],
)
def test_the_exit_code_of_a_replay_tells_if_named_events_were_left_out(ask, dead, which, code, requeued):
    """`replay` exits with 8 if no named event exists, 7 if all named events are refused, and 6 if some are left out."""
    named = [each if isinstance(each, str) else dead[each] for each in which]
    document = ask("replay", *named, "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (code, requeued)


def test_a_replay_of_published_events_needs_allow_published(ask, engine):
    """`replay` exits with 7 if its selectors match published events and --allow-published is missing."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published")
    refused = ask("replay", "--published", "-y")
    assert (refused["exit_code"], "--allow-published" in refused["error"]["hint"]) == (7, True)
    document = ask("replay", "--published", "--allow-published", "-y")
    assert (document["counts"]["requeued"], document["counts"]["already_published"]) == (2, 2)


@pytest.mark.parametrize("options", [["-y"], ["-n"], []])
def test_a_replay_of_a_pending_event_by_id_has_nothing_to_do(invoke, ask, database_url, engine, options):
    """If the named event is pending with all its retries left, `replay` says so and exits with 0.

    `replay` does not record a run.
    """
    with engine.begin() as connection:
        insert_events(connection, 1)
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
    shown = invoke("replay", event, *options, DATABASE_URL=database_url)
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, "✔  nothing to do: 1 event is already pending")
    assert f"why an event waits\tpayctl show {event}" in shown.stdout
    document = ask("replay", event, *options)
    assert (document["counts"]["requeued"], document["dry_run"]) == (0, "-n" in options)
    assert ask("runs", "list")["items"] == []


def test_a_replay_of_a_pending_event_gives_its_retries_back(invoke, ask, database_url, engine):
    """`replay` requeues a pending event if an attempt to send it has failed.

    The plan says that the event gets all its retries back.
    """
    with engine.begin() as connection:
        insert_events(connection, 1, retry_count=2, last_error="x")
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
    plan = invoke("replay", event, "-n", DATABASE_URL=database_url).stdout
    assert "changes\tthe pending event gets all its retries back\n" in plan
    assert "takes\tunder a second; then a publisher sends the event\n" in plan
    assert (ask("replay", event, "-y")["counts"]["requeued"], pending(engine)) == (1, 1)


@pytest.mark.parametrize(
    ("failed", "changes"),
    [
        (0, None),
        (1, "1 of 2 pending events gets all its retries back"),
        (2, "the pending events get all their retries back"),
    ],
)
def test_a_plan_gives_retries_back_only_to_events_that_failed(failed, changes, invoke, database_url, engine, tmp_path):
    """The plan says which pending events get their retries back, even if it is read from a file."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_events(connection, 2 - failed)
        insert_events(connection, failed, retry_count=2, last_error="x")
    plan = str(tmp_path / "plan")
    with engine.begin() as connection:
        ids = list(connection.exec_driver_sql("SELECT id FROM outbox").scalars())
    for arguments in ([*ids, "--plan-out", plan], ["--plan", plan, "-n"]):
        shown = invoke("replay", *arguments, DATABASE_URL=database_url)
        assert shown.exit_code == 0, shown.stderr
        found = [line.split("\t")[1] for line in shown.stdout.splitlines() if line.startswith("changes\t")]
        assert found == ([changes] if changes else [])


@pytest.mark.parametrize(("events", "them"), [(1, "it"), (2, "them")])
def test_a_plan_says_that_consumers_see_published_events_twice(invoke, database_url, engine, events, them):
    """In a replay plan, the sentence about published events is grammatical for any count.

    The last line suggests the next command.
    """
    with engine.begin() as connection:
        insert_events(connection, events, state="published")
    published = ("replay", "--published", "--allow-published")
    shown = invoke(*published, "-n", DATABASE_URL=database_url).stdout
    assert f"already published\t{events}: consumers will see {them} twice" in shown
    done = invoke(*published, "-y", DATABASE_URL=database_url).stdout
    assert done.splitlines()[-1] == "if no publisher runs\tpayctl publish-outbox"


def test_a_replay_of_a_named_published_event_needs_only_allow_published(ask, engine):
    """`replay` exits with 7 for a published event that is given by its id, unless --allow-published is given."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
    refused = ask("replay", event, "-y")
    assert (refused["exit_code"], refused["items"][0]["reason"]) == (7, "published")
    document = ask("replay", event, "--allow-published", "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (0, 1)


def test_a_payment_s_events_are_selected_by_its_id(ask, dead, engine):
    """--aggregate selects exactly the events of the payments whose ids are given."""
    with engine.begin() as connection:
        sql = 'SELECT "aggregateId" FROM outbox WHERE id = ANY(%(ids)s)'
        payments = list(connection.exec_driver_sql(sql, {"ids": dead[:2]}).scalars())
    named = [word for payment in payments for word in ("--aggregate", payment)]
    run = ask("replay", *named, "-y")["run_id"]
    assert {item["id"] for item in ask("runs", "show", run)["items"]} == set(dead[:2])
    assert ask("replay", "--aggregate", "nobody", "-y")["counts"]["requeued"] == 0


@pytest.mark.usefixtures("dead")
def test_a_replay_plan_has_an_estimated_duration(invoke, ask, database_url):
    """A replay's estimated duration is the number of events divided by --rate.

    Without --rate, the estimate is nearly zero.
    """
    assert ask("replay", "--failed", "-n", "--rate", "1/s")["result"]["estimated_seconds"] == 3.0
    assert ask("replay", "--failed", "-n", "--rate", "1/m")["result"]["estimated_seconds"] == 180.0
    assert ask("replay", "--failed", "-n")["result"]["estimated_seconds"] < 0.01
    shown = invoke("replay", "--failed", "-n", "--rate", "2/m", DATABASE_URL=database_url).stdout
    assert "takes\tabout 1 min 30 s, at 2/min; then a publisher sends the events" in shown
    shown = invoke("replay", "--failed", "-n", DATABASE_URL=database_url).stdout
    assert "takes\tunder a second; then a publisher sends the events\n" in shown


def test_a_replay_says_why_events_are_left_out(invoke, database_url, dead):
    """A replay's plan and result each say once why events are left out, and name a command that shows them."""
    planned = invoke("replay", "--failed", "-n", DATABASE_URL=database_url)
    assert f"{dead[3]}\tPAYMENT_FAILED\tsuperseded: the customer has paid since\n" in planned.stdout
    assert f"see why:  payctl show {dead[3]}\n" in planned.stdout
    ran = invoke("replay", "--failed", "-y", DATABASE_URL=database_url)
    assert "skipped\t1 superseded: the customer has paid since\n" in ran.stdout
    for said in (planned.stdout + planned.stderr, ran.stdout, ran.stderr):
        assert said.count("superseded") == 1
    (run,) = re.findall("see why\tpayctl runs show (.*)\n", ran.stdout)
    assert f"{dead[3]}\tskipped\tsuperseded" in invoke("runs", "show", run, DATABASE_URL=database_url).stdout


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by state"])
@pytest.mark.parametrize("option", ["-n", "-y"])
def test_a_replay_whose_events_are_all_left_out_exits_with_7(invoke, ask, database_url, dead, by_id, option):
    """If all selected events are left out, `replay` exits with 7 and shows a cross, even in a preview."""
    assert ask("replay", *dead[:3], "-y")["counts"]["requeued"] == 3
    selector = [dead[3]] if by_id else ["--failed"]
    document = ask("replay", *selector, option)
    assert (document["exit_code"], document["ok"], document["counts"]["skipped"]) == (7, False, 1)
    first, *_ = invoke("replay", *selector, option, DATABASE_URL=database_url).stdout.splitlines()
    assert first == f"✘  nothing to replay: every {'named' if by_id else 'matching'} event is left out"


@pytest.mark.parametrize("option", ["-n", "--dry-run"])
def test_a_dry_run_of_a_replay_names_the_command_that_applies_it(invoke, database_url, dead, engine, option):
    """After a dry run, `replay` suggests the same command without -n."""
    shown = invoke("replay", option, *dead[:2], "--reason", "it is back", DATABASE_URL=database_url).stdout
    expected = f"  payctl replay {' '.join(dead[:2])} --reason 'it is back'"
    assert shown.splitlines()[-2:] == ["dry run:  nothing was changed. To apply it:", expected]
    assert invoke(*shlex.split(expected)[1:], "-y", DATABASE_URL=database_url).exit_code == 0
    assert pending(engine) == 2


def test_the_command_after_a_dry_run_satisfies_the_guard(invoke, database_url, dead, tmp_path):
    """For a protected profile, the command suggested after a dry run includes the options that the guard requires."""
    file = tmp_path / "config.toml"
    file.write_text(f'[profiles.prod]\nDATABASE_URL = "{database_url}"\n[profiles.prod.guard]\nprotected = true\n')
    file.chmod(0o600)
    words = ["-p", "prod", "--config", str(file), "replay"]
    shown = invoke(*words, "-n", "--", dead[0]).stdout
    expected = f"  payctl {' '.join(words)} --reason replay --confirm prod -- {dead[0]}"
    assert shown.splitlines()[-1] == expected
    assert invoke(*shlex.split(expected)[1:6], "-y", *shlex.split(expected)[6:]).exit_code == 0


def test_a_dry_run_of_a_replay_from_stdin_names_no_command(invoke, database_url, dead):
    """After a dry run with ids from stdin, `replay` suggests no command, because a pasted command would not work."""
    shown = invoke("replay", "-n", "-", stdin="\n".join(dead[:2]), DATABASE_URL=database_url).stdout
    assert shown.splitlines()[-1] == "dry run:  nothing was changed"


def test_a_replay_stops_at_max_errors(ask, dead, engine):
    """A replay counts locked rows as errors and stops at --max-errors."""
    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
        document = ask("replay", "--failed", "-y", "--rate", "1/s", "--max-errors", "2")
    assert (document["exit_code"], document["result"]["outcome"]) == (6, "too_many_errors")
    assert (document["counts"]["failed"], document["result"]["remaining"], len(dead)) == (2, 1, 4)
    assert ask("runs", "show", document["run_id"])["result"]["status"] == "stopped"


def test_a_replay_over_max_affected_is_refused(ask, dead, engine):
    """A replay that would change more events than --max-affected exits with 7. The hint says which limit is needed."""
    document = ask("replay", "--failed", "-y", "--max-affected", "2")
    assert (document["exit_code"], "--max-affected 3" in document["error"]["hint"]) == (7, True)
    assert (pending(engine), len(dead)) == (0, 4)


@pytest.mark.parametrize(("ending", "events"), [([], 3), (["--limit", "2"], 2), (["--allow-superseded"], 4)])
def test_a_replay_over_max_affected_loads_no_row(ask, dead, ending, events):
    """If a replay selects more events than --max-affected, it counts these events without loading their rows."""
    read = []

    def note(_connection, _cursor, statement, *_more):
        read.append(statement)

    listen(Engine, "before_cursor_execute", note)
    try:
        document = ask("replay", "--failed", *ending, "-y", "--max-affected", "1")
    finally:
        remove(Engine, "before_cursor_execute", note)
    assert (document["exit_code"], f"--max-affected {events}" in document["error"]["hint"]) == (7, True)
    assert (len(dead), [sql for sql in read if "o.ctid::text" in sql]) == (4, [])


def test_a_replay_names_the_superseded_events_that_it_includes(invoke, ask, database_url, dead, engine):
    """With --allow-superseded, the plan, the confirmation prompt and the document name the superseded events."""
    asked = invoke("replay", "--failed", "--allow-superseded", DATABASE_URL=database_url)
    assert asked.exit_code == 7
    assert "1 superseded event INCLUDED by --allow-superseded" in asked.stderr
    assert f"{dead[3]}\tPAYMENT_FAILED" in asked.stderr
    assert "replay 4 events (1 of them superseded: paying customers lose their tickets)" in asked.stderr
    assert pending(engine) == 0
    for arguments in (["-n"], ["-y"]):
        document = ask("replay", "--failed", "--allow-superseded", *arguments)
        assert (document["result"]["superseded"], document["result"]["superseded_ids"]) == (1, [dead[3]])
        assert "INCLUDED" in document["warnings"][0]
    assert pending(engine) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--age", "5m"],
        ["--failed", "--error", "("],
        ["--failed", "--since", "03/04/2026"],
        ["--failed", "--since", "1h", "--until", "2h"],
        ["--failed", "--by", "published"],
        ["--failed", "--canary-timeout", "5s"],
        ["--failed", "--canary", "0"],
        ["--failed", "--rate", "5"],
        ["--type", ""],
        ["--provider", "paypal"],
        ["--failed", "--limit", "0"],
        ["--stuck", "--age", "soon"],
        ["one", "--from-file", "x"],
        ["--all", "--failed"],
        ["--all", "--stuck"],
        ["--all", "--published", "--allow-published"],
        ["--all", "one"],
    ],
    ids=" ".join,
)
def test_a_replay_with_contradicting_options_is_refused(ask, arguments):
    """`replay` exits with 2 if options are invalid or contradict each other."""
    assert ask("replay", *arguments, "-y")["exit_code"] == 2
