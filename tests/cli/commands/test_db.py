from __future__ import annotations

import pytest

from ticketbottle_payctl.store.db import migrations

pytestmark = pytest.mark.postgres


def test_upgrade_and_status_agree(answer, empty_database_url):
    """What is missing before is applied by the upgrade, and there after it; a second upgrade finds nothing to do."""
    known = [step.name for step in migrations.known()]
    database = {"DATABASE_URL": empty_database_url}
    assert answer("db", "status", **database)["result"] == {"up_to_date": False, "applied": [], "pending": known}
    dry = answer("db", "upgrade", "-n", **database)
    assert (dry["dry_run"], dry["result"]["applied"]) == (True, known)
    assert answer("db", "upgrade", **database)["result"] == {"applied": known, "already_applied": []}
    assert answer("db", "upgrade", **database)["result"] == {"applied": [], "already_applied": known}
    assert answer("db", "status", **database)["result"]["up_to_date"]


def test_people_are_told_what_to_run(invoke, empty_database_url):
    """Status names the command that is missing, upgrade the steps it ran."""
    database = {"DATABASE_URL": empty_database_url}
    assert "payctl db upgrade" in invoke("db", "status", **database).stdout
    assert "✔  ran" in invoke("db", "upgrade", **database).stdout
    assert invoke("db", "status", **database).stdout.startswith("✔  up to date")
