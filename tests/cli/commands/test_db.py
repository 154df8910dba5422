"""Test that `payctl db status` and `payctl db upgrade` agree about the missing migration steps."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.store.db import migrations

pytestmark = pytest.mark.postgres


def test_db_upgrade_and_db_status_agree(answer, empty_database_url):
    """`db upgrade` applies exactly the steps that `db status` lists as pending. A second `db upgrade` does nothing."""
    known = [step.name for step in migrations.known()]
    database = {"DATABASE_URL": empty_database_url}
    assert answer("db", "status", **database)["result"] == {"up_to_date": False, "applied": [], "pending": known}
    dry = answer("db", "upgrade", "-n", **database)
    assert (dry["dry_run"], dry["result"]["applied"]) == (True, known)
    assert answer("db", "upgrade", **database)["result"] == {"applied": known, "already_applied": []}
    assert answer("db", "upgrade", **database)["result"] == {"applied": [], "already_applied": known}
    assert answer("db", "status", **database)["result"]["up_to_date"]


def test_db_status_names_the_command_to_run(invoke, empty_database_url):
    """`db status` suggests `payctl db upgrade` if steps are missing, and `db upgrade` lists the steps that it ran."""
    database = {"DATABASE_URL": empty_database_url}
    assert "payctl db upgrade" in invoke("db", "status", **database).stdout
    assert "✔  ran" in invoke("db", "upgrade", **database).stdout
    assert invoke("db", "status", **database).stdout.startswith("✔  up to date")
