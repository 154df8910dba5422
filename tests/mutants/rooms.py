"""Define the rooms.

Each room says which code is changed, how it is changed, and which tests should notice the changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "ticketbottle_payctl"


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the package, and the paths of its tests. If ``sql`` is true, only SQL statements are changed."""

    name: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    sql: bool = False

    def files(self, root: Path) -> list[str]:
        """Return the paths of the room's Python files, sorted."""
        places = [root / PACKAGE / code for code in self.code]
        found = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
        return sorted(file.relative_to(root).as_posix() for file in found)


_COMMANDS = "tests/cli/commands"
_LIMITS = "tests/jobs/test_limits.py"
_SQL = (
    *("tests/store", "tests/jobs", "tests/cdc", "tests/test_database_roles.py"),
    *(f"{_COMMANDS}/{name}" for name in ("report", "reconcile", "test_why_events_wait.py")),
)

ROOMS = (
    Room("domain", ("domain",), ("tests/domain", "tests/jobs")),
    Room(
        "providers",
        ("providers",),
        (
            "tests/providers",
            f"{_COMMANDS}/reconcile/test_payments.py",
            f"{_COMMANDS}/reconcile/test_payments_untrusted.py",
        ),
    ),
    Room(
        "process_webhook",
        ("jobs/process_webhook",),
        ("tests/jobs/process_webhook", f"{_COMMANDS}/test_process_webhook.py"),
    ),
    Room("replay", ("jobs/replay",), ("tests/jobs/replay", _LIMITS, f"{_COMMANDS}/replay")),
    Room("publish_outbox", ("jobs/publish_outbox",), ("tests/jobs/publish_outbox", _LIMITS, "tests/store")),
    Room("cleanup", ("jobs/cleanup",), ("tests/jobs/cleanup", _LIMITS, "tests/store", f"{_COMMANDS}/test_cleanup.py")),
    Room(
        "reconcile",
        ("jobs/reconcile",),
        (
            "tests/jobs/test_settle_overdue.py",
            "tests/jobs/test_reconcile_outbox.py",
            f"{_COMMANDS}/reconcile",
        ),
    ),
    Room("sql", ("store",), _SQL, sql=True),
)
