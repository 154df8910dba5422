"""Measure the cost of the settings at the beginning of each transaction, with and without PgBouncer.

PgBouncer runs in transaction mode. The contenders take turns in one run. The "without" contender sends only BEGIN,
which would be enough if the limits were set on the database role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median, quantiles
from unittest.mock import patch

from sqlalchemy import Engine

from benchmarks import processes
from benchmarks.counting_proxy import counting_proxy
from benchmarks.database import Database, database
from benchmarks.options import Options
from benchmarks.report import Section
from benchmarks.webhook import PAYMENTS, settle_callbacks
from tests.servers.pgbouncer import PgBouncer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db import driver
from ticketbottle_payctl.store.db import engine as engines

_WAYS = {"with": (True, False), "without": (True, True), "with, a connection for each": (False, False)}
"""The contenders. The first value says whether connections go through PgBouncer.

The second value says whether the settings are left out.
"""

_TURN = 15
"""The number of callbacks in one contender's turn.

Turns are short, so that the machine's load is similar for all contenders.
"""


def pooler(options: Options) -> list[Section]:
    """Measure how long each contender takes to process a callback, directly and through PgBouncer.

    The 10th percentiles are compared, because other programs on the machine affect the fastest callbacks least.
    """
    section = Section(
        "pooler",
        "The settings of each transaction (one webhook)",
        ("way", "settings", "p10 ms", "compared with the direct p10", "p50 ms"),
    )
    rounds = 20 * options.runs
    with database(synchronous_commit="off") as server, _pgbouncer(server) as url:
        urls = {"direct": server.url} | ({"PgBouncer": url} if url else {})
        if not url:
            section.notes.append("PgBouncer was not found on the path.")
        server.one(PAYMENTS.format(_TURN * len(urls) * len(_WAYS) * (rounds + 1) + 10))
        server.one("VACUUM (ANALYZE) payments")
        numbers = iter(range(1, 10**9))
        engine_of = {
            (place, way): engines.make_engine(DatabaseSettings(Secret(where), pooled=pooled))
            for place, where in urls.items()
            for way, (pooled, _) in _WAYS.items()
        }
        taken: dict[tuple[str, str], list[float]] = {each: [] for each in engine_of}
        processes.wait_for_quiet(options.patience)
        for round_ in range(rounds + 1):
            for each, engine in engine_of.items():
                times = _turn(engine, [next(numbers) for _ in range(_TURN)], bare=_WAYS[each[1]][1])
                taken[each] += times if round_ else []  # the first round warms up
        for engine in engine_of.values():
            engine.dispose()
        trips = {bare: _trips(server, next(numbers), next(numbers), bare=bare) for bare in (False, True)}
    fast = {each: quantiles(times, n=10)[0] for each, times in taken.items()}
    for (place, way), times in taken.items():
        section.rows.append((place, way, *_shown(fast, (place, way)), f"{median(times):.3f}"))
    section.notes.append(f"Messages of a callback: {trips[False]} with the settings, {trips[True]} without.")
    section.notes.append("The server does not wait for the disk, because the wait would hide the cost of the settings.")
    section.samples.append({f"{place}, {way}": times for (place, way), times in taken.items()})
    section.at_most("messages that the settings add", trips[False] - trips[True], 0)
    return [section]


def _shown(fast: dict[tuple[str, str], float], each: tuple[str, str]) -> tuple[str, str]:
    return f"{fast[each]:.3f}", f"{fast[each] / fast['direct', 'with']:.2f}"


def _turn(engine: Engine, numbers: list[int], *, bare: bool) -> list[float]:
    with patch.object(engines, "_opened", _bare) if bare else nullcontext():
        return settle_callbacks(engine, numbers)


def _bare(connection: object, statement: str) -> str:
    """Put only BEGIN in front of a transaction's first statement, without the settings that payctl normally adds."""
    fresh = getattr(connection, "info", {}).pop("payctl_fresh", False)
    return f"{driver.BEGIN};\n{statement}" if fresh else statement


def _trips(server: Database, warm: int, number: int, *, bare: bool) -> int:
    with counting_proxy(server.server.port) as proxy:
        where = server.url.replace(f":{server.server.port}/", f":{proxy.port}/")
        engine = engines.make_engine(DatabaseSettings(Secret(where)))
        _turn(engine, [warm], bare=bare)
        since = len(proxy.said)
        _turn(engine, [number], bare=bare)
        sent = proxy.statements(since)
        engine.dispose()
        return len(sent)


@contextmanager
def _pgbouncer(server: Database) -> Iterator[str | None]:
    """Start PgBouncer in front of the database, and yield its URL. If PgBouncer is not installed, yield None."""
    try:
        pooler = PgBouncer(server.url, size=4).start()
    except ConfigError:
        yield None
        return
    try:
        yield pooler.url
    finally:
        pooler.close()
