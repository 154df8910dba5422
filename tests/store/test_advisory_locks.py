"""Test that different kinds of advisory locks never use the same number."""

from __future__ import annotations

from pathlib import Path

import ticketbottle_payctl
from ticketbottle_payctl.store.db.advisory_locks import MIGRATIONS, Namespace

PACKAGE = Path(ticketbottle_payctl.__file__).parent
HOME = PACKAGE / "store" / "db" / "advisory_locks.py"


def test_no_two_kinds_of_lock_share_a_number():
    """Migrations, shards and runs use different lock numbers, so these locks never conflict with each other."""
    assert len({MIGRATIONS, *Namespace}) == 1 + len(Namespace)


def test_lock_numbers_are_defined_in_one_file():
    """Only advisory_locks.py contains lock numbers and advisory lock SQL, so a new kind of lock cannot collide."""
    others = {path: path.read_text("utf-8") for path in PACKAGE.rglob("*.py") if path != HOME}
    assert not [path for path, text in others.items() if "7_262_00" in text or "pg_try_advisory" in text]
    assert not [path for path, text in others.items() if "'advisory'" in text]
