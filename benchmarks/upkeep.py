"""Measure how a cleanup affects the publisher, and how long ``stats`` takes with millions of rows."""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from sqlalchemy import event

from benchmarks import processes
from benchmarks.brokers import mock_broker
from benchmarks.database import database
from benchmarks.drain import Snapshot, contender
from benchmarks.options import Options
from benchmarks.report import Section
from benchmarks.rounds import COLUMNS, Rounds
from ticketbottle_payctl.jobs.stats import collect_stats
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.db.engine import Limits, transaction

_TURNS = 15
_PUBLISHING = ("payctl", "payctl-during-cleanup")
_HELD = "cleanup, old snapshot held"
_LOCK_WAIT = re.compile(r"still waiting for (\w+) .* after ([\d.]+) ms")


def cleanup(options: Options) -> list[Section]:
    """Measure a drain and a cleanup of a million published rows, separately and at the same time."""
    with (
        database(log_lock_waits="on", deadlock_timeout="100ms") as server,
        mock_broker() as broker,
        closing(Snapshot(server)) as snapshot,
    ):
        rounds = Rounds(server, broker, options)
        fill = partial(server.fill, options.rows, published=options.published)

        def hold() -> None:
            fill()
            snapshot.hold()

        alone = contender(server, broker, "cleanup", options)
        rounds.run(
            [
                *(replace(contender(server, broker, name, options), prepare=snapshot.released_before(fill))
                  for name in _PUBLISHING),
                replace(alone, prepare=snapshot.released_before(fill)),
                replace(alone, name=_HELD, prepare=snapshot.released_before(hold)),
            ]
        )  # fmt: skip
        waits = [float(found[1]) for found in _LOCK_WAIT.findall(server.server.log.read_text(errors="replace"))]
    section = Section("cleanup", "Publishing during a cleanup (mock broker)", COLUMNS, samples=rounds.records)
    section.rows += [rounds.row(name, to=_PUBLISHING[0]) for name in _PUBLISHING]
    section.rows += [rounds.row(name, to="cleanup") for name in ("cleanup", _HELD)]
    section.at_least(
        "publisher's rate during a cleanup, compared with its rate alone",
        rounds.ratio(_PUBLISHING[1], _PUBLISHING[0]),
        0.85,
    )
    section.at_most("lock waits of more than 100 ms", len(waits), 0)
    section.at_least(
        "cleanup with an old snapshot held, compared with its rate alone", rounds.ratio(_HELD, "cleanup"), 0.8
    )
    section.notes.append(
        "The publisher and the cleanup share the cores. The second row shows only the publisher's CPU time."
    )
    return [section]


def stats(options: Options) -> list[Section]:
    """Measure how long the database takes for one run of ``stats`` with warm caches."""
    section = Section("stats", f"`stats` over {options.many:,} rows", ("what", "median ms", "highest ms"))
    with database() as server:
        server.fill(1000, published=options.many, dead=1000)
        with transaction(server.engine, Limits()) as connection:
            insert_events(connection, 1000, state="published")
        spent: list[float] = []
        began = 0.0

        @event.listens_for(server.engine, "before_cursor_execute")
        def start(*_: Any) -> None:  # noqa: ANN401 - SQLAlchemy passes six arguments
            nonlocal began
            began = time.perf_counter()

        @event.listens_for(server.engine, "after_cursor_execute")
        def end(*_: Any) -> None:  # noqa: ANN401
            spent[-1] += time.perf_counter() - began

        processes.wait_for_quiet(options.patience)
        for _ in range(_TURNS):
            spent.append(0.0)
            collect_stats(server.engine, max_retries=5)
    warm = [each * 1000 for each in spent[1:]]
    section.rows.append(("database time", f"{median(warm):.1f}", f"{max(warm):.1f}"))
    section.samples.append({"database_ms": warm})
    section.at_most(f"database time of one `payctl stats` on {options.many:,} rows", median(warm), 40, " ms")
    return [section]
