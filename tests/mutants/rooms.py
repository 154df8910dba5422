"""Define the rooms: which code is changed, how, and which tests should notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "ticketbottle_payctl"


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the package, and the folders and files of its tests. In a room of SQL only the statements change."""

    name: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    sql: bool = False

    def files(self, root: Path) -> list[str]:
        """Return the room's files by name, without the code of other rooms."""
        places = [root / PACKAGE / code for code in self.code]
        found = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
        return sorted(file.relative_to(root).as_posix() for file in found)


_PUBLISHING = ("tests/jobs/publish_outbox", "tests/store", "tests/interleavings")
_RECONCILE = ("tests/jobs/test_reconcile_outbox.py", "tests/cli/commands")

ROOMS = (
    Room("domain", ("domain",), ("tests/domain", "tests/jobs")),
    Room("providers", ("providers",), ("tests/providers",)),
    Room("process_webhook", ("jobs/process_webhook",), ("tests/jobs/process_webhook",)),
    Room("replay", ("jobs/replay",), ("tests/jobs/replay", "tests/cli/commands/replay")),
    Room("publish_outbox", ("jobs/publish_outbox",), _PUBLISHING),
    Room("cleanup", ("jobs/cleanup",), ("tests/jobs/cleanup", "tests/store", "tests/cli/commands")),
    Room("reconcile", ("jobs/reconcile",), _RECONCILE),
    Room("sql", ("store",), ("tests/store", "tests/jobs", "tests/cli/commands"), sql=True),
)
