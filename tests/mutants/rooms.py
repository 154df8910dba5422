"""Define the rooms.

Each room says which code is changed, how it is changed, and which tests should notice the changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "ticketbottle_payctl"


@dataclass(frozen=True, slots=True)
class Room:
    """A part of the package, and the paths of its tests.

    If ``sql`` is true, only SQL statements are changed. If ``kafka`` is true, the tests that need Apache Kafka run too.
    """

    name: str
    code: tuple[str, ...]
    tests: tuple[str, ...]
    sql: bool = False
    kafka: bool = False

    def files(self, root: Path) -> list[str]:
        """Return the paths of the room's Python files, sorted."""
        places = [root / PACKAGE / code for code in self.code]
        found = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
        return sorted(file.relative_to(root).as_posix() for file in found)


_COMMANDS = "tests/cli/commands"
DEFAULTS = "tests/jobs/test_defaults.py"
"""The test of the defaults in the options and the reports of all jobs. It runs no line of their functions."""
_ALL_JOBS = ("tests/jobs/test_limits.py", DEFAULTS)
_CLOSED = f"{_COMMANDS}/show/dead_events/test_closed_last.py"
_SQL = (
    *("tests/store", "tests/jobs", "tests/cdc", "tests/database_roles"),
    *(f"{_COMMANDS}/{name}" for name in ("report", "reconcile", "show", "replay", "why_events_wait")),
    *(f"{_COMMANDS}/{name}" for name in ("test_list.py", "test_runs.py", "test_doctor.py")),
)

ROOMS = (
    Room(
        "domain",
        ("domain",),
        ("tests/domain", "tests/jobs", *(f"tests/{leaf}/test_message_size.py" for leaf in ("broker", "store"))),
    ),
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
        ("tests/jobs/process_webhook", DEFAULTS, f"{_COMMANDS}/test_process_webhook.py"),
    ),
    Room("replay", ("jobs/replay",), ("tests/jobs/replay", *_ALL_JOBS, f"{_COMMANDS}/replay", _CLOSED)),
    Room(
        "publish_outbox",
        ("jobs/publish_outbox", "jobs/find_risks.py"),
        ("tests/jobs/publish_outbox", *_ALL_JOBS, "tests/store", f"{_COMMANDS}/publish_outbox"),
    ),
    Room(
        "cleanup", ("jobs/cleanup",), ("tests/jobs/cleanup", *_ALL_JOBS, "tests/store", f"{_COMMANDS}/test_cleanup.py")
    ),
    Room(
        "reconcile",
        ("jobs/reconcile",),
        (
            "tests/jobs/test_settle_overdue.py",
            "tests/jobs/test_reconcile_outbox.py",
            "tests/jobs/test_status_poller.py",
            "tests/jobs/test_gateway_address.py",
            *_ALL_JOBS,
            f"{_COMMANDS}/reconcile",
        ),
    ),
    Room(
        "order",
        ("jobs/order", "jobs/close_event.py"),
        ("tests/jobs/order", "tests/jobs/test_show.py", *_ALL_JOBS, f"{_COMMANDS}/show"),
    ),
    Room(
        "stats",
        ("jobs/stats", "jobs/measure_outbox.py"),
        (
            *(f"tests/jobs/test_{name}.py" for name in ("stats", "stats_forecast", "stats_live")),
            *_ALL_JOBS,
            *(f"{_COMMANDS}/{name}" for name in ("test_stats.py", "test_stats_live.py", "why_events_wait")),
        ),
    ),
    Room(
        "doctor",
        ("jobs/doctor", "jobs/fix_published_flags.py"),
        (
            "tests/jobs/doctor",
            "tests/jobs/test_fix_published_flags.py",
            *_ALL_JOBS,
            f"{_COMMANDS}/test_doctor.py",
            f"{_COMMANDS}/why_events_wait",
        ),
    ),
    Room(
        "report",
        ("jobs/report",),
        ("tests/jobs/test_report.py", "tests/jobs/test_report_timeline.py", *_ALL_JOBS, f"{_COMMANDS}/report"),
    ),
    Room(
        "cdc",
        ("jobs/cdc",),
        (
            *(f"tests/cdc/test_{name}.py" for name in ("config", "marks", "not_logical", "refusals")),
            *(f"tests/cdc/test_{name}.py" for name in ("looking", "closing", "interrupted")),
            *_ALL_JOBS,
        ),
        kafka=True,
    ),
    Room(
        "callbacks",
        (
            *("jobs/connect.py", "jobs/find_order.py", "jobs/find_receipt.py", "jobs/forward_callback.py"),
            *("jobs/register_webhook.py", "jobs/verify_signature.py", "jobs/watch_payments.py"),
        ),
        (
            *(f"tests/jobs/test_{name}.py" for name in ("watch_payments", "forward_callback", "runs")),
            *_ALL_JOBS,
            "tests/providers/test_verify_signature.py",
            *(f"{_COMMANDS}/test_{name}.py" for name in ("gateways", "listen_forward", "simulate")),
            *(f"{_COMMANDS}/test_{name}.py" for name in ("process_webhook", "verify_signature")),
        ),
    ),
    Room(
        "lists",
        (
            *("jobs/complete_ids.py", "jobs/error_groups.py", "jobs/list_rows.py", "jobs/runs.py"),
            "jobs/server_identity.py",
        ),
        (
            *(
                "tests/jobs/test_runs.py",
                "tests/jobs/test_list_rows.py",
                "tests/jobs/test_complete_ids.py",
                *_ALL_JOBS,
                "tests/cli/app/test_completion.py",
            ),
            *(f"{_COMMANDS}/{name}.py" for name in ("test_list", "test_runs")),
            *(f"{_COMMANDS}/replay/{name}.py" for name in ("test_runs", "test_error_groups", "test_stopped")),
        ),
    ),
    Room("sql", ("store",), _SQL, sql=True),
)
"""The rooms, in the order of the table in docs/explanation/reliability.md."""
