"""Compare payctl with its peers, which take turns on the same server and broker.

If a peer is missing, the report says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import processes
from benchmarks.brokers import Broker, apache_kafka, mock_broker
from benchmarks.database import Database, database
from benchmarks.drain import contender
from benchmarks.options import Options
from benchmarks.peers.environment import PeerMissingError, interpreter
from benchmarks.processes import ROOT, python
from benchmarks.report import Section
from benchmarks.rounds import COLUMNS, Contender, Rounds
from tests.servers import kafka_connect
from ticketbottle_payctl.errors import PayctlError

_PEERS = ROOT / "benchmarks" / "peers"
_SLOW = 20_000
_SLOWEST = 5_000
ONE_BY_ONE, FASTSTREAM, DEBEZIUM = "one by one", "faststream-outbox", "Debezium on Kafka Connect"
_GOALS = {DEBEZIUM: 3, FASTSTREAM: 8, ONE_BY_ONE: 40}


def peers(options: Options) -> list[Section]:
    """Compare the peers with Apache Kafka as the broker.

    If Apache Kafka is missing, use the mock broker, without Debezium.
    """
    with database(wal_level="logical") as server:
        try:
            with apache_kafka() as broker:
                return [_compare(server, broker, options)]
        except PayctlError as error:
            with mock_broker() as broker:
                section = _compare(server, broker, options)
                section.notes.append(f"No Apache Kafka: {error.message}.")
                return [section]


def _compare(server: Database, broker: Broker, options: Options) -> Section:
    section = Section("peers", f"Peers ({broker.name})", COLUMNS)
    contenders = [contender(server, broker, "payctl", options)]
    for name, make in _MAKERS.items():
        try:
            contenders.append(make(server, broker, options))
        except (PeerMissingError, PayctlError, processes.ChildFailedError) as error:
            section.notes.append(f"{name} left out: {error}")
    rounds = Rounds(server, broker, options)
    rounds.warm_up(contender(server, broker, "producer", options))
    rounds.run(contenders, may_fail=True)
    section.samples = rounds.records
    section.notes += [f"{name} left out: {why}" for name, why in rounds.failed.items()]
    for each in [each for each in contenders if each.name not in rounds.failed]:
        section.rows.append(rounds.row(each.name, to="payctl"))
        if each.name in _GOALS:
            section.at_least(f"drain, compared with {each.name}", rounds.ratio("payctl", each.name), _GOALS[each.name])
    section.notes.append(
        "Debezium's connector is already running, and its time is from the commit of a burst to the last message. The"
        f" others drain a backlog. {ONE_BY_ONE} sends {_few(options, _SLOWEST):,} events from payctl's table, and"
        f" {FASTSTREAM} sends {_few(options, _SLOW):,} events from its own table."
    )
    return section


def _one_by_one(server: Database, broker: Broker, options: Options) -> Contender:
    rows = _few(options, _SLOWEST)
    return Contender(
        ONE_BY_ONE,
        [interpreter("one-by-one"), str(_PEERS / "one_by_one.py"), str(rows)],
        _where(server, broker),
        partial(server.fill, rows, published=options.published),
    )


def _faststream(server: Database, broker: Broker, options: Options) -> Contender:
    rows, relay, where = _few(options, _SLOW), str(_PEERS / "faststream_relay.py"), _where(server, broker)
    program = interpreter("faststream-outbox")
    processes.run([program, relay, "create"], where)

    def prepare() -> None:
        processes.run([program, relay, "fill", str(rows)], where)
        server.one("VACUUM (ANALYZE) faststream_outbox")
        server.one("CHECKPOINT")

    return Contender(FASTSTREAM, [program, relay, "run", str(rows)], where, prepare, drains=False)


def _debezium(server: Database, broker: Broker, options: Options) -> Contender:
    if broker.name == "mock":
        raise PeerMissingError("it needs Apache Kafka")  # noqa: EM101, TRY003
    kafka_connect.PROGRAM.class_path()
    rows = min(options.rows, 100_000)
    return Contender(
        DEBEZIUM,
        python("benchmarks.debezium", str(rows)),
        _where(server, broker),
        partial(server.fill, 0, published=options.published),
        drains=False,
    )


_MAKERS: dict[str, Callable[[Database, Broker, Options], Contender]] = {
    ONE_BY_ONE: _one_by_one,
    FASTSTREAM: _faststream,
    DEBEZIUM: _debezium,
}


def _where(server: Database, broker: Broker) -> dict[str, str]:
    return {"DATABASE_URL": server.url, "KAFKA_BROKERS": broker.bootstrap}


def _few(options: Options, most: int) -> int:
    """Return a smaller number of events for a slow peer, whose rate does not depend on this number."""
    return min(options.rows // 10, most)
