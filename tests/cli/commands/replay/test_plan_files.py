"""Test replay plans that are written to a file and applied later."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.commands.replay.conftest import pending

pytestmark = pytest.mark.postgres


def test_a_plan_is_written_and_applied_later(ask, dead, engine, tmp_path):
    """When `replay` applies a stored plan, it skips events that changed in the meantime, and exits with 6."""
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


def test_applying_a_plan_warns_about_its_superseded_events(invoke, ask, database_url, dead, engine, tmp_path):
    """When `replay` applies a stored plan, a warning names the events that were superseded after the plan was made."""
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


@pytest.mark.usefixtures("dead")
def test_the_command_that_applies_a_plan_can_be_pasted(invoke, database_url, tmp_path):
    """The suggested command for applying a plan quotes the file name for the shell."""
    plan = tmp_path / "tonight's plan"
    shown = invoke("replay", "--failed", "--plan-out", str(plan), DATABASE_URL=database_url).stdout
    assert shlex.split(shown[shown.index("payctl replay --plan") :]) == ["payctl", "replay", "--plan", str(plan)]


@pytest.mark.parametrize(
    "content",
    ["", "hello", "{}", "[1]\n[2]", '{"schema": "payctl.replay-plan/1"}', "\x00", '{"events": ', "null"],
)
def test_a_file_that_is_not_a_plan_is_refused(ask, tmp_path, content):
    """`replay` exits with 2 if the plan file does not contain a plan."""
    file = tmp_path / "plan"
    file.write_text(content)
    assert ask("replay", "--plan", str(file), "-y")["exit_code"] == 2


FOREIGN = "an event of another plan"
"""A placeholder for a line from another plan for the same database."""

EDITS = {
    "the end of the last line is missing": ('"dead"]\n$', '"dead"'),
    "the last line is missing": (r"\n[^\n]+\n$", "\n"),
    "an event of another plan was added": ("$", f"{FOREIGN}\n"),
    "the last event was replaced": (r"[^\n]+\n$", f"{FOREIGN}\n"),
    "the count was raised": ('"events": 3', '"events": 4'),
    "a place is SQL": (r'"\(0,1\)"', '"(0,1); DROP"'),
    "a state is unknown": ('"dead"]', '"alive"]'),
    "a state was changed": ('"dead"]', '"pending"]'),
    "superseded events were allowed": ('"allow_superseded": false', '"allow_superseded": true'),
    "published events were allowed": ('"allow_published": false', '"allow_published": true'),
    "the database was changed": ("127.0.0.1:", "db.internal:"),
    "the selector was changed": ('"failed": true', '"failed": false'),
    "the lines end with CRLF": (r"\]\n", "]\r\n"),
    "the digest is missing": ('"digest"', '"note"'),
    "an earlier version made it": ("replay-plan/2", "replay-plan/1"),
    "a later version made it": ("replay-plan/2", "replay-plan/3"),
}


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(("pattern", "instead"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_plan_file_is_refused(ask, engine, tmp_path, pattern, instead):
    """`replay` exits with 2 if a plan file was edited, because the operator has not reviewed the new content."""
    plan, other = tmp_path / "plan", tmp_path / "other"
    assert ask("replay", "--failed", "--plan-out", str(plan))["counts"]["matched"] == 4
    ask("replay", "--failed", "--allow-superseded", "--plan-out", str(other))
    text = plan.read_text()
    (foreign,) = set(other.read_text().splitlines()[1:]) - set(text.splitlines())
    edited = re.sub(pattern, lambda _: instead.replace(FOREIGN, foreign), text, count=1)
    assert edited != text
    plan.write_bytes(edited.encode())
    refused = ask("replay", "--plan", str(plan), "-y")
    assert (refused["exit_code"], refused["error"]["code"]) == (2, "INPUT")
    assert pending(engine) == 0


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("option", ["--failed", "--all", "--allow-published", "--allow-superseded"])
def test_a_plan_file_cannot_be_combined_with_a_selector_or_permission(ask, engine, tmp_path, option):
    """`replay` exits with 2 if --plan is combined with a selector or permission, because the plan contains both."""
    plan = tmp_path / "plan"
    ask("replay", "--failed", "--plan-out", str(plan))
    refused = ask("replay", "--plan", str(plan), option, "-y")
    assert (refused["exit_code"], option in f"{refused['error']['message']} --failed") == (2, True)
    assert pending(engine) == 0


@pytest.mark.usefixtures("dead")
def test_a_plan_for_another_database_is_refused(ask, answer, tmp_path):
    """`replay` refuses a plan that was made for a different database than the one in the settings."""
    plan = tmp_path / "plan"
    ask("replay", "--failed", "--plan-out", str(plan))
    refused = answer("replay", "--plan", str(plan), "-y", DATABASE_URL="postgresql://u:p@127.0.0.1:1/elsewhere")
    assert (refused["exit_code"], "the plan is for" in refused["error"]["message"]) == (2, True)
