"""``payctl replay`` and ``payctl runs`` as they are typed."""

from __future__ import annotations

import gzip
import json
import shlex
import signal
from datetime import timedelta

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import Engine
from sqlalchemy.event import listen, remove

from ticketbottle_payctl.cli import schema
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture
def ask(answer, database_url):
    """Run a command against the test's database; its document keeps to its schema."""

    def run(*arguments, **environment):
        document = answer(*arguments, DATABASE_URL=database_url, **environment)
        found = schema.load(document["schema"])
        Draft202012Validator(found, format_checker=FormatChecker()).validate(document)
        if document["error"] is None:
            assert set(document["result"]) <= set(found["then"]["properties"].get("result", {}).get("properties", {}))
        return document

    return run


@pytest.fixture
def dead(engine):
    """Ids of four dead events, the last of them superseded."""
    with engine.begin() as connection:
        insert_events(connection, 3, state="dead", last_error="Connection timeout to broker-1:9092")
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED", last_error="x")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        return list(connection.exec_driver_sql('SELECT id FROM outbox ORDER BY "createdAt"').scalars())


def pending(engine):
    """How many are pending."""
    with engine.connect() as connection:
        return connection.exec_driver_sql('SELECT count(*) FROM outbox WHERE "retryCount" = 0').scalar_one()


@pytest.mark.parametrize("arguments", [[], ["--limit", "5"], ["--allow-superseded"], ["-y", "--rate", "5/s"]])
def test_nothing_selected_lists_the_selectors(ask, arguments):
    """A forgotten selector never means everything; that needs --all."""
    document = ask("replay", *arguments)
    assert document["exit_code"] == 2
    assert "--failed" in document["error"]["hint"]
    assert "--all" in document["error"]["hint"]


def test_without_yes_the_plan_is_shown_and_nothing_changes(invoke, database_url, dead, engine):
    """Exit 7 where nobody can be asked."""
    result = invoke("replay", "--failed", DATABASE_URL=database_url)
    assert result.exit_code == 7
    assert "put 3 events back to pending" in result.stderr
    assert f"{dead[3]}\tPAYMENT_FAILED\tsuperseded" in result.stderr
    assert "--yes" in result.stderr
    assert (result.stdout, pending(engine)) == ("", 0)


def test_a_replay_in_one_document(ask, dead, engine):
    """Counts, the run, and each event that was left out with its reason."""
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


def test_a_dry_run_changes_nothing(ask, dead, engine):
    """The plan with its forecast, exit 0."""
    document = ask("replay", *dead[:3], "-n")
    assert (document["exit_code"], document["dry_run"], document["result"]["planned"]) == (0, True, 3)
    assert (document["counts"]["requeued"], document["run_id"], pending(engine)) == (0, None, 0)


@pytest.mark.parametrize(
    ("which", "code", "requeued"),
    [([0, "nope"], 6, 1), (["nope"], 8, 0), ([3], 7, 0), ([0, 3], 6, 1), ([0], 0, 1)],
    ids=["some", "none", "superseded", "one of two", "all"],
)
def test_an_event_that_was_named_and_left_out_changes_the_exit_code(ask, dead, which, code, requeued):
    """Missing is 8, guarded is 7, partly is 6."""
    named = [each if isinstance(each, str) else dead[each] for each in which]
    document = ask("replay", *named, "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (code, requeued)


def test_published_events_need_to_be_asked_for_twice(ask, engine):
    """Selecting them alone stops at a guard."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published")
    refused = ask("replay", "--published", "-y")
    assert (refused["exit_code"], "--allow-published" in refused["error"]["hint"]) == (7, True)
    document = ask("replay", "--published", "--allow-published", "-y")
    assert (document["counts"]["requeued"], document["counts"]["already_published"]) == (2, 2)


def test_published_events_that_are_named_need_leave_alone(ask, engine):
    """Their names say which; --allow-published says that consumers may see them twice."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        event = connection.exec_driver_sql("SELECT id FROM outbox").scalar_one()
    refused = ask("replay", event, "-y")
    assert (refused["exit_code"], refused["items"][0]["reason"]) == (7, "published")
    document = ask("replay", event, "--allow-published", "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (0, 1)


def test_a_payment_s_events_are_selected_by_its_id(ask, dead, engine):
    """Of each payment that is named, and of no other."""
    with engine.begin() as connection:
        sql = 'SELECT "aggregateId" FROM outbox WHERE id = ANY(%(ids)s)'
        payments = list(connection.exec_driver_sql(sql, {"ids": dead[:2]}).scalars())
    named = [word for payment in payments for word in ("--aggregate", payment)]
    run = ask("replay", *named, "-y")["run_id"]
    assert {item["id"] for item in ask("runs", "show", run)["items"]} == set(dead[:2])
    assert ask("replay", "--aggregate", "nobody", "-y")["counts"]["requeued"] == 0


@pytest.mark.usefixtures("dead")
def test_a_plan_says_how_long_it_takes(invoke, ask, database_url):
    """As many seconds as the rate makes of its events; without a rate next to none."""
    assert ask("replay", "--failed", "-n", "--rate", "1/s")["result"]["estimated_seconds"] == 3.0
    assert ask("replay", "--failed", "-n", "--rate", "1/m")["result"]["estimated_seconds"] == 180.0
    assert ask("replay", "--failed", "-n")["result"]["estimated_seconds"] < 0.01
    shown = invoke("replay", "--failed", "-n", "--rate", "2/m", DATABASE_URL=database_url).stdout
    assert "takes about\t1 min 30 s, at 0.0333333 a second; publishing follows" in shown
    assert "takes about\tless than a second;" in invoke("replay", "--failed", "-n", DATABASE_URL=database_url).stdout


def test_failures_end_a_run(ask, dead, engine):
    """Rows that another session holds, as many as --max-errors; the rest can be resumed."""
    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
        document = ask("replay", "--failed", "-y", "--rate", "1/s", "--max-errors", "2")
    assert (document["exit_code"], document["result"]["outcome"]) == (6, "too_many_errors")
    assert (document["counts"]["failed"], document["result"]["remaining"], len(dead)) == (2, 1, 4)
    assert ask("runs", "show", document["run_id"])["result"]["status"] == "stopped"


def test_more_than_the_cap_is_refused_with_the_number(ask, dead, engine):
    """The plan knows how many."""
    document = ask("replay", "--failed", "-y", "--max-affected", "2")
    assert (document["exit_code"], "--max-affected 3" in document["error"]["hint"]) == (7, True)
    assert (pending(engine), len(dead)) == (0, 4)


@pytest.mark.parametrize(("ending", "events"), [([], 3), (["--limit", "2"], 2), (["--allow-superseded"], 4)])
def test_what_is_over_the_cap_is_refused_before_it_is_read(ask, dead, ending, events):
    """A count of what would be requeued decides; of a million rows none is loaded to be refused."""
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


def test_a_plan_is_written_and_applied_later(ask, dead, engine, tmp_path):
    """What changed in between is skipped and reported, exit 6."""
    plan = tmp_path / "plan"
    written = ask("replay", "--failed", "--plan-out", str(plan))
    assert (written["exit_code"], written["result"]["plan_file"], pending(engine)) == (0, str(plan), 0)
    assert plan.stat().st_mode & 0o777 == 0o600
    assert ask("replay", "--failed", "--plan-out", str(plan))["exit_code"] == 2
    with engine.begin() as connection:
        connection.exec_driver_sql('UPDATE outbox SET "retryCount" = 6 WHERE id = %(id)s', {"id": dead[1]})
    document = ask("replay", "--plan", str(plan), "-y")
    assert (document["exit_code"], document["counts"]["requeued"]) == (6, 2)
    assert {item["id"]: item["reason"] for item in document["items"]} == {dead[1]: "changed", dead[3]: "superseded"}


def test_superseded_events_that_are_let_in_are_counted_and_named(invoke, ask, database_url, dead, engine):
    """In the plan, in what the question is about, and in the document."""
    asked = invoke("replay", "--failed", "--allow-superseded", DATABASE_URL=database_url)
    assert asked.exit_code == 7
    assert "1 superseded event is INCLUDED" in asked.stderr
    assert f"{dead[3]}\tPAYMENT_FAILED" in asked.stderr
    assert "replay 4 events (1 of them superseded: paid customers lose their tickets)" in asked.stderr
    assert pending(engine) == 0
    for arguments in (["-n"], ["-y"]):
        document = ask("replay", "--failed", "--allow-superseded", *arguments)
        assert (document["result"]["superseded"], document["result"]["superseded_ids"]) == (1, [dead[3]])
        assert "INCLUDED" in document["warnings"][0]
    assert pending(engine) == 4


def test_a_plan_file_that_lets_superseded_events_in_says_so_when_it_is_applied(
    invoke, ask, database_url, dead, engine, tmp_path
):
    """Also of those that were superseded only after it was made."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """UPDATE payments SET status = 'FAILED' WHERE id = (SELECT "aggregateId" FROM outbox WHERE id = %(id)s)""",
            {"id": dead[3]},
        )
    plan = tmp_path / "plan"
    assert ask("replay", "--failed", "--allow-superseded", "--plan-out", str(plan))["result"]["superseded"] == 0
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    asked = invoke("replay", "--plan", str(plan), DATABASE_URL=database_url)
    assert (asked.exit_code, "1 of them superseded" in asked.stderr, dead[3] in asked.stderr) == (7, True, True)
    document = ask("replay", "--plan", str(plan), "-y")
    assert (document["result"]["superseded_ids"], "INCLUDED" in document["warnings"][0]) == ([dead[3]], True)


def test_a_resumed_run_that_lets_superseded_events_in_says_so(invoke, ask, database_url, dead, engine):
    """Whoever resumes did not type --allow-superseded, and hears of it before a yes."""
    stopped = ask("replay", "--failed", "--allow-superseded", "-y", "--canary", "1", "--canary-timeout", "1ms")
    assert (stopped["exit_code"], pending(engine)) == (10, 1)
    asked = invoke("runs", "resume", stopped["run_id"], DATABASE_URL=database_url)
    assert (asked.exit_code, "(1 of them superseded" in asked.stderr, dead[3] in asked.stderr) == (7, True, True)
    document = ask("runs", "resume", stopped["run_id"], "-y")
    assert (document["result"]["superseded_ids"], "INCLUDED" in document["warnings"][0]) == ([dead[3]], True)


@pytest.mark.usefixtures("dead")
def test_the_command_that_applies_a_plan_can_be_pasted(invoke, database_url, tmp_path):
    """Whatever the file is called."""
    plan = tmp_path / "tonight's plan"
    shown = invoke("replay", "--failed", "--plan-out", str(plan), DATABASE_URL=database_url).stdout
    assert shlex.split(shown[shown.index("payctl replay --plan") :]) == ["payctl", "replay", "--plan", str(plan)]


@pytest.mark.parametrize(
    "content",
    ["", "hello", "{}", "[1]\n[2]", '{"schema": "payctl.replay-plan/1"}', "\x00", '{"events": ', "null"],
)
def test_a_file_that_is_no_plan_is_refused(ask, tmp_path, content):
    """Whatever it is, exit 2 and not a bug."""
    file = tmp_path / "plan"
    file.write_text(content)
    assert ask("replay", "--plan", str(file), "-y")["exit_code"] == 2


@pytest.mark.usefixtures("dead")
def test_a_plan_that_is_not_whole_or_another_database_s_is_refused(ask, tmp_path, engine):
    """A line too few, a place that is none, another host."""
    plan = tmp_path / "plan"
    ask("replay", "--failed", "--plan-out", str(plan))
    text = plan.read_text()
    for changed in (
        text.rpartition("[")[0],
        text.replace('"(0,1)"', '"(0,1); DROP"'),
        text.replace("127.0.0.1:", "db.internal:"),
        text.replace('"dead"]', '"alive"]'),
    ):
        plan.write_text(changed)
        assert ask("replay", "--plan", str(plan), "-y")["exit_code"] == 2
    for beside in ("--failed", "--all", "--allow-published", "--allow-superseded"):
        refused = ask("replay", "--plan", str(plan), beside, "-y")
        assert (refused["exit_code"], beside in f"{refused['error']['message']} --failed") == (2, True)
    assert pending(engine) == 0


def test_ids_come_from_a_list_s_ndjson(invoke, ask, database_url, dead, tmp_path):
    """Through a pipe or a file; the summary line is no id."""
    listed = invoke(
        "list", "outbox", "--failed", "--type", "PAYMENT_COMPLETED", "-o", "ndjson", DATABASE_URL=database_url
    )
    piped = invoke("replay", "-", "-y", "-o", "json", stdin=listed.stdout, DATABASE_URL=database_url)
    assert json.loads(piped.stdout)["counts"]["requeued"] == 3
    file = tmp_path / "ids"
    file.write_text(f"# of a colleague\n{dead[0]}\n\n{dead[0]}\n")
    assert ask("replay", "--from-file", str(file), "-n")["result"]["planned"] == 1


@pytest.mark.usefixtures("dead")
def test_one_page_of_a_list_is_not_taken_for_all_of_it(invoke, database_url, engine):
    """A selector is a predicate, never a page: what was left out of the list must not be left out silently."""
    select = ("list", "outbox", "--failed", "--type", "PAYMENT_COMPLETED", "-o", "ndjson")
    page = invoke(*select, "--limit", "2", DATABASE_URL=database_url).stdout
    refused = invoke("replay", "-", "-y", "-o", "json", stdin=page, DATABASE_URL=database_url)
    error = json.loads(refused.stdout)["error"]
    assert (refused.exit_code, "--all" in error["hint"], "--limit" in error["hint"]) == (2, True, True)
    assert pending(engine) == 0
    for enough in (["--all"], ["--limit", "3"]):
        whole = invoke(*select, *enough, DATABASE_URL=database_url).stdout
        taken = invoke("replay", "-", "-n", "-o", "json", stdin=whole, DATABASE_URL=database_url)
        assert json.loads(taken.stdout)["result"]["planned"] == 3


def test_a_list_that_broke_off_is_not_taken_for_a_whole_one(ask, dead, tmp_path):
    """In a pipe nobody sees the first command's exit code, but its summary holds the error."""
    lines = [{"type": "item", "id": dead[0]}, {"type": "summary", "truncated": False, "error": {"code": "CONFIG"}}]
    file = tmp_path / "ids"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}\n", "{broken\n", "two words\n", "x" * 500, "\x1b[31m\n"])
def test_a_file_without_ids_is_refused(ask, tmp_path, content):
    """Rather than taken for no selection."""
    file = tmp_path / "ids"
    file.write_text(content)
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


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
def test_what_cannot_be_meant_is_refused(ask, arguments):
    """Exit 2 before anything is read or changed."""
    assert ask("replay", *arguments, "-y")["exit_code"] == 2


@pytest.mark.usefixtures("dead")
def test_an_error_group_leads_from_errors_to_replay(ask, engine):
    """The command that `errors` prints selects what it counted."""
    group = ask("errors", "--type", "PAYMENT_COMPLETED")["items"][0]
    assert (group["count"], group["pattern"]) == (3, "Connection timeout to #:#")
    document = ask(*group["replay"].split()[1:], "-y")
    assert (document["counts"]["requeued"], pending(engine)) == (3, 3)
    assert [left["pattern"] for left in ask("errors")["items"]] == ["x"]


FAILED_ONCE = {"tried", "dead", "failed", "vnpay", "old"}


@pytest.mark.parametrize(
    ("error", "selectors", "expected"),
    [
        ("no 'answer' from 10.0.0.1", [], FAILED_ONCE),
        ("no 'answer' from 10.0.0.1", ["--failed"], FAILED_ONCE - {"tried"}),
        ("no 'answer' from 10.0.0.1", ["--type", "PAYMENT_FAILED", "--type", "it's odd"], {"failed"}),
        ("no 'answer' from 10.0.0.1", ["--provider", "vn-pay"], {"vnpay"}),
        ("no 'answer' from 10.0.0.1", ["--since", "90m"], FAILED_ONCE - {"old"}),
        ("no 'answer' from 10.0.0.1", ["--until", "90m ago"], {"old"}),
        ("no 'answer' from 10.0.0.1", ["--error", "^no 'answer' "], FAILED_ONCE),
        (None, [], FAILED_ONCE),
        (None, ["--failed"], FAILED_ONCE - {"tried"}),
    ],
)
def test_the_command_of_errors_selects_what_was_counted_and_nothing_else(ask, engine, selectors, expected, error):
    """With the same selectors; never what is healthy, and never what waits for its first try after a replay."""
    names = {}
    with engine.begin() as connection:
        for name, what in (
            ("healthy", {}),
            ("replayed", {"last_error": error}),
            ("tried", {"retry_count": 2, "last_error": error}),
            ("dead", {"retry_count": 5, "last_error": error}),
            ("failed", {"retry_count": 5, "last_error": error, "event_type": "PAYMENT_FAILED"}),
            ("vnpay", {"retry_count": 5, "last_error": error}),
            ("old", {"retry_count": 5, "last_error": error, "age": timedelta(hours=2)}),
        ):
            insert_events(connection, 1, **what)
            new = "SELECT id FROM outbox WHERE id <> ALL(%(known)s)"
            names[connection.exec_driver_sql(new, {"known": list(names)}).scalar_one()] = name
        insert_payments_of_events(connection)
        of_event = """(SELECT "aggregateId" FROM outbox WHERE id = %(id)s)"""
        connection.exec_driver_sql(
            f"UPDATE payments SET provider = 'VNPAY' WHERE id = {of_event}",  # noqa: S608
            {"id": next(event for event, name in names.items() if name == "vnpay")},
        )
    (group,) = ask("errors", *selectors)["items"]
    document = ask(*shlex.split(group["replay"])[1:], "-y")
    assert (group["count"], document["counts"]["requeued"]) == (len(expected), len(expected))
    items = ask("runs", "show", document["run_id"])["items"]
    assert {names[item["id"]] for item in items} == expected


def test_a_signal_leaves_a_run_that_can_be_resumed(started, database_url, engine, ask):
    """The transaction under way is finished, the shell sees 143, and nothing is requeued twice."""
    with engine.begin() as connection:
        insert_events(connection, 40, state="dead")
    process = started("replay", "--failed", "-y", "--rate", "5/s", "-o", "json", DATABASE_URL=database_url)
    wait_until(lambda: pending(engine) or None, what="the first events to be requeued", timeout=20)
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
    """To its end, in one record."""
    with engine.begin() as connection:
        insert_events(connection, 6, state="dead")
    process = started("replay", "--failed", "-y", "--rate", "3/s", "-o", "json", DATABASE_URL=database_url)
    wait_until(lambda: pending(engine) or None, what="the first events to be requeued", timeout=20)
    process.send_signal(signal.SIGINT)
    document = json.loads(process.communicate(timeout=20)[0])
    assert process.returncode == 130
    resumed = ask("runs", "resume", document["run_id"], "-y")
    assert (resumed["exit_code"], resumed["counts"]["requeued"], resumed["counts"]["remaining"]) == (0, 6, 0)
    assert pending(engine) == 6


@pytest.mark.usefixtures("dead")
def test_a_run_that_was_killed_is_interrupted_and_one_at_work_is_locked(started, invoke, database_url, engine, ask):
    """While it is at work a resume exits 9; once it is gone it is resumed, and the record says who did what."""
    arguments = ["replay", "--failed", "-y", "--canary", "2", "-o", "json"]
    process = started(*arguments, DATABASE_URL=database_url)
    wait_until(lambda: pending(engine) or None, what="the canary to be requeued", timeout=20)
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
def test_who_cancelled_a_run_is_shown(invoke, ask, database_url):
    """To people and to programs."""
    run = ask("replay", "--failed", "-y", "--canary", "1", "--canary-timeout", "1ms")["run_id"]
    ask("runs", "cancel", run, "--reason", "the wrong ones", PAYCTL_ACTOR="Minh")
    (act,) = ask("runs", "show", run)["result"]["acts"]
    assert (act["deed"], act["actor"], act["reason"]) == ("cancelled", "Minh", "the wrong ones")
    shown = invoke("runs", "show", run, DATABASE_URL=database_url).stdout
    assert "cancelled\t" in shown
    assert "Minh (" in shown
    assert "the wrong ones" in shown


@pytest.mark.usefixtures("dead")
def test_ctrl_c_while_the_canary_is_all_there_is(started, database_url, engine):
    """The shell sees 130, not the code of another signal."""
    arguments = ["replay", "--failed", "-y", "--canary", "9", "-o", "json"]
    process = started(*arguments, DATABASE_URL=database_url)
    wait_until(lambda: pending(engine) or None, what="the canary to be requeued", timeout=20)
    process.send_signal(signal.SIGINT)
    document = json.loads(process.communicate(timeout=20)[0])
    assert (process.returncode, document["exit_code"], document["result"]["outcome"]) == (130, 130, "signal")


@pytest.mark.parametrize(("name", "code"), [("00000000-0000-4000-8000-000000000000", 8), ("zz", 2), ("%%%%", 2)])
@pytest.mark.parametrize("verb", ["show", "resume", "cancel"])
def test_a_run_that_is_not_there(ask, verb, name, code):
    """Not found, or no id at all."""
    assert ask("runs", verb, name)["exit_code"] == code


def test_an_archive_is_listed_without_a_database(answer, tmp_path):
    """What cleanup wrote can be read back, filtered, as rows of the same shape."""
    rows = [
        {"id": f"e{number}", "aggregateId": f"p{number}", "aggregateType": "payment", "eventType": event_type,
         "payload": {"order_code": f"TB-{number}", "provider": "ZALOPAY"}, "published": True,
         "publishedAt": f"2026-11-0{number}T00:00:01", "createdAt": f"2026-11-0{number}T00:00:00.5",
         "retryCount": 0, "lastError": None}
        for number, event_type in ((1, "PAYMENT_COMPLETED"), (2, "PAYMENT_FAILED"), (3, "PAYMENT_COMPLETED"))
    ]  # fmt: skip
    archive = tmp_path / "outbox.ndjson.gz"
    archive.write_bytes(b"".join(gzip.compress(f"{json.dumps(row)}\n".encode()) for row in rows))

    def listed(*arguments):
        document = answer("list", "outbox", "--from-archive", str(archive), *arguments)
        assert document["exit_code"] == 0
        return [item["id"] for item in document["items"]]

    assert listed() == ["e1", "e2", "e3"]
    assert listed("--type", "PAYMENT_FAILED") == ["e2"]
    assert listed("--order-code", "TB-3", "--provider", "zalo-pay") == ["e3"]
    assert listed("--since", "2026-11-02T00:00:00Z", "--until", "2026-11-03T00:00:00Z") == ["e2"]
    assert listed("--limit", "1") == ["e1"]
    for arguments in (["--failed"], ["--error", "x"], ["--after", "2026-01-01T00:00:00Z~x"]):
        assert answer("list", "outbox", "--from-archive", str(archive), *arguments)["exit_code"] == 2
