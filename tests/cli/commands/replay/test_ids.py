"""Replays of ids from a list or a file."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands.replay.conftest import pending

pytestmark = pytest.mark.postgres


def test_ids_come_from_a_list_s_ndjson(invoke, ask, database_url, dead, tmp_path):
    """Payctl replay reads ids from a pipe or a file and ignores the summary line."""
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
    """A truncated list exits with 2, because its missing events would be left out silently."""
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
    """A list whose summary has an error exits with 2. In a pipe its own exit code is not visible."""
    lines = [{"type": "item", "id": dead[0]}, {"type": "summary", "truncated": False, "error": {"code": "CONFIG"}}]
    file = tmp_path / "ids"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2


@pytest.mark.parametrize("content", ["", "# nothing\n", "{}\n", "{broken\n", "two words\n", "x" * 500, "\x1b[31m\n"])
def test_a_file_without_ids_is_refused(ask, tmp_path, content):
    """A file without a valid id exits with 2 and does not count as an empty selection."""
    file = tmp_path / "ids"
    file.write_text(content)
    assert ask("replay", "--from-file", str(file), "-y")["exit_code"] == 2
