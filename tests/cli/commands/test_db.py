"""Test that `payctl db status` and `payctl db upgrade` agree about the missing migration steps."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.store.db import migrations

pytestmark = pytest.mark.postgres


def test_db_upgrade_and_db_status_agree(answer, empty_database_url):
    """`db upgrade` applies exactly the steps that `db status` lists as pending. A second `db upgrade` does nothing."""
    known = [step.name for step in migrations.known()]
    database = {"DATABASE_URL": empty_database_url}
    before = answer("db", "status", **database)
    assert before["result"] == {"up_to_date": False, "applied": [], "pending": known}
    assert (before["exit_code"], before["error"]) == (5, None)
    dry = answer("db", "upgrade", "-n", **database)
    assert (dry["dry_run"], dry["result"]["applied"]) == (True, known)
    assert answer("db", "upgrade", **database)["result"] == {"applied": known, "already_applied": []}
    assert answer("db", "upgrade", **database)["result"] == {"applied": [], "already_applied": known}
    assert answer("db", "status", **database)["result"]["up_to_date"]


def test_db_status_names_the_command_to_run(invoke, empty_database_url):
    """`db status` exits with 5 and names `payctl db upgrade` if steps are missing. `db upgrade` lists what it ran."""
    database = {"DATABASE_URL": empty_database_url}
    missing = invoke("db", "status", **database)
    assert (missing.stdout.splitlines()[0], missing.exit_code) == (
        f"✘  {len(migrations.known())} migrations missing: payctl db upgrade",
        5,
    )
    assert "✔  ran" in invoke("db", "upgrade", **database).stdout
    done = invoke("db", "status", **database)
    assert (done.stdout.splitlines()[0], done.exit_code) == ("✔  up to date", 0)
