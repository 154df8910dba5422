"""Drain a backlog.

Compare payctl's throughput with the database's and the broker's maximum throughput, measured in the same run. Then
measure payctl under difficult conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial

import psycopg2

from benchmarks.brokers import Broker, apache_kafka, mock_broker
from benchmarks.counting_proxy import counting_proxy
from benchmarks.database import Database, database
from benchmarks.options import Options
from benchmarks.processes import python, run
from benchmarks.report import Section
from benchmarks.rounds import COLUMNS, Contender, Rounds
from ticketbottle_payctl.errors import PayctlError

BATCH = 1000
CLEANUPS = ("cleanup",)
LIMITS = ("serial", "overlapped-by-id", "overlapped-by-ctid")
_DEAD = 10_000
_UNDISTURBED = "undisturbed"


def drain(options: Options) -> list[Section]:
    """Measure how fast payctl drains a backlog into each broker. Return one section for each broker."""
    with database() as server:
        sections = [_into(server, mock_broker, options, 0.9, "the mock broker")]
        try:
            sections.append(_into(server, apache_kafka, options, 0.85, "Apache Kafka"))
        except PayctlError as error:
            sections.append(Section("drain-kafka", "Drain into Apache Kafka", notes=[f"Left out: {error.message}."]))
        return sections


def disturbed(options: Options) -> list[Section]:
    """Measure drains with an old snapshot, with stale statistics, and with dead events that precede the backlog."""
    with database() as server, mock_broker() as broker, closing(Snapshot(server)) as snapshot:
        fill = partial(server.fill, options.rows, published=options.published)

        def hold() -> None:
            fill()
            snapshot.hold()

        days: dict[str, Callable[[], None]] = {
            _UNDISTURBED: fill,
            "old snapshot held": hold,
            "stale statistics": partial(fill, analyze=False),
            "10,000 dead events ahead": partial(fill, dead=_DEAD),
        }
        rounds = Rounds(server, broker, options)
        plain = contender(server, broker, "payctl", options)
        rounds.run([replace(plain, name=name, prepare=snapshot.released_before(day)) for name, day in days.items()])
        section = Section(
            "disturbed", "Drain under difficult conditions (mock broker)", COLUMNS, samples=rounds.records
        )
        for name in days:
            section.rows.append(rounds.row(name, to=_UNDISTURBED))
            if name != _UNDISTURBED:
                section.at_least(
                    f"drain rate ({name}), compared with the undisturbed rate", rounds.ratio(name, _UNDISTURBED), 0.9
                )
        return [section]


def contender(server: Database, broker: Broker, kind: str, options: Options) -> Contender:
    """Return a contender from ``contenders.py`` that uses this database and broker."""
    return Contender(
        kind,
        python("benchmarks.contenders", kind, str(options.rows), str(BATCH)),
        {"DATABASE_URL": server.url, "KAFKA_BROKERS": broker.bootstrap, "PAYCTL_DB_POOL": "1"},
        partial(server.fill, options.rows, published=options.published),
        drains=kind not in {"producer", *CLEANUPS},
        sends=kind not in {*LIMITS, *CLEANUPS},
    )


def _into(
    server: Database, start: Callable[[], AbstractContextManager[Broker]], options: Options, wanted: float, title: str
) -> Section:
    with start() as broker:
        rounds = Rounds(server, broker, options)
        names = (*LIMITS, "producer", "payctl", "payctl-two")
        rounds.warm_up(contender(server, broker, "producer", options))
        rounds.run([contender(server, broker, name, options) for name in names])
        section = Section(f"drain-{broker.name.lower()}", f"Drain into {title}", COLUMNS, samples=rounds.records)
        section.rows += [rounds.row(name, to="overlapped-by-id") for name in names]
        section.notes.append(
            f"{options.rows:,} events of 300 bytes in batches of {BATCH:,}, and {options.published:,} published rows;"
            " the ratio compares each rate with that of overlapped-by-id. payctl-two is two publishers that share the"
            " payments (PAYCTL_SHARDS=2); its CPU and memory are those of the first publisher."
        )
        section.at_least(
            f"drain into {title}, compared with the limit overlapped-by-id", rounds.ratio("payctl", LIMITS[1]), wanted
        )
        section.at_least(
            f"drain into {title}, compared with the limit overlapped-by-ctid", rounds.ratio("payctl", LIMITS[2]), wanted
        )
        section.at_least(
            f"drain into {title} with two publishers, compared with one", rounds.ratio("payctl-two", "payctl"), 1
        )
        if broker.name == "mock":
            memory = max(sample.rss for sample in rounds.best("payctl"))
            section.at_most(f"peak memory for a drain of {options.rows:,} events (max RSS)", memory, 120, " MiB")
            wal = [min(sample.wal for sample in rounds.best(name)) for name in ("payctl", LIMITS[2])]
            section.at_most("WAL per event, compared with the UPDATE alone", wal[0] / wal[1], 1.1)
            section.at_most("round trips to PostgreSQL per event", _messages(server, broker, options), 0.003)
        return section


def _messages(server: Database, broker: Broker, options: Options) -> float:
    """Return the number of round trips to PostgreSQL per event, as counted by a proxy.

    The number is computed from the difference between draining a larger and a smaller backlog. Therefore the number
    does not include connecting and the first queries of each run.
    """
    payctl = contender(server, broker, "payctl", options)
    half = options.rows // 2
    turns = []
    for rows in (options.rows, half):
        server.fill(rows, published=options.published)
        with counting_proxy(server.server.port) as proxy:
            url = server.url.replace(f":{server.server.port}/", f":{proxy.port}/")
            run(payctl.command, {**payctl.environ, "DATABASE_URL": url})
            turns.append(proxy.turns)
    return (turns[0] - turns[1]) / (options.rows - half)


class Snapshot:
    """A session with an old snapshot. Vacuum cannot remove rows that were deleted after the snapshot was taken."""

    def __init__(self, server: Database) -> None:
        self._url = server.url
        self._connection = psycopg2.connect(self._url)

    def hold(self) -> None:
        """Take the snapshot, and hold it until :meth:`close` is called."""
        self._connection = psycopg2.connect(self._url)
        self._connection.set_session(isolation_level="REPEATABLE READ")
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM payctl.publishers")

    def close(self) -> None:
        """Release the snapshot."""
        self._connection.close()

    def released_before(self, prepare: Callable[[], None]) -> Callable[[], None]:
        """Return a function that releases the old snapshot and then calls ``prepare``."""

        def prepared() -> None:
            self.close()
            prepare()

        return prepared
