"""Plans that are written to a file and applied later."""

from __future__ import annotations

import shlex

import pytest

from tests.cli.commands.replay.conftest import pending

pytestmark = pytest.mark.postgres


def test_a_plan_is_written_and_applied_later(ask, dead, engine, tmp_path):
    """An event that changed after the plan is skipped and reported, and the exit code is 6."""
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


def test_a_plan_file_that_lets_superseded_events_in_says_so_when_it_is_applied(
    invoke, ask, database_url, dead, engine, tmp_path
):
    """The warning also names events that were superseded after the plan was made."""
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
    """The printed command quotes the plan's file name for the shell."""
    plan = tmp_path / "tonight's plan"
    shown = invoke("replay", "--failed", "--plan-out", str(plan), DATABASE_URL=database_url).stdout
    assert shlex.split(shown[shown.index("payctl replay --plan") :]) == ["payctl", "replay", "--plan", str(plan)]


@pytest.mark.parametrize(
    "content",
    ["", "hello", "{}", "[1]\n[2]", '{"schema": "payctl.replay-plan/1"}', "\x00", '{"events": ', "null"],
)
def test_a_file_that_is_no_plan_is_refused(ask, tmp_path, content):
    """A file that is not a plan exits with 2."""
    file = tmp_path / "plan"
    file.write_text(content)
    assert ask("replay", "--plan", str(file), "-y")["exit_code"] == 2


@pytest.mark.usefixtures("dead")
def test_a_plan_that_is_not_whole_or_another_database_s_is_refused(ask, tmp_path, engine):
    """A plan with a missing line, a changed value or another host exits with 2."""
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
