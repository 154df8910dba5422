"""``make soak``: real PostgreSQL, real Kafka, several publishers, and faults drawn by a seed, for minutes.

Everything runs on 127.0.0.1 and is removed at the end. The exit code is 0 if no event was lost, made up, altered,
charged or out of order and the outbox drained. Copies that a fault may cause are only counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import datetime
from threading import Event, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tests.checker import TOPIC_OF, judge, rows_of
from tests.servers.apache_kafka import ApacheKafka
from tests.soak.faults import Fault, Kind, plan
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import Server, in_memory
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.db.migrations import upgrade

WRITERS = 2
DRAINED_WITHIN = 15.0
"""The most seconds until nothing is pending after the last fault, or until the backlog of an outage is published.

They cover the longest wait between two probes of the broker, a probe, and the publishing.
"""

INSERT = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
    VALUES (%(id)s, %(key)s, 'payment', %(type)s, %(payload)s, clock_timestamp() AT TIME ZONE 'UTC')
"""
BACKLOG = """SELECT min("createdAt"), clock_timestamp() AT TIME ZONE 'UTC' FROM outbox WHERE NOT published"""
Clock = time.monotonic


class Writer(Thread):
    """A thread that commits events of its own payments until it is told to stop."""

    def __init__(self, engine: Engine, number: int, seed: int, rate: float, stop: Event) -> None:
        super().__init__(daemon=True)
        self.engine, self.number, self.rate, self.stop = engine, number, rate, stop
        self.chance = random.Random(f"{seed}/{number}")  # noqa: S311 - not for secrets
        self.events, self.payments = 0, 0
        self.open: list[str] = []

    def run(self) -> None:
        """Commit events at random intervals. Retry if the database is unavailable, as the payment service does."""
        while not self.stop.wait(self.chance.expovariate(self.rate / 2)):
            with suppress(DBAPIError):
                self._commit(self.chance.choice((1, 1, 2, 4)))

    def _commit(self, events: int) -> None:
        late = self.chance.uniform(0.1, 1.5) if self.chance.random() < 0.01 else 0.0
        with self.engine.begin() as connection:
            for _ in range(events):
                connection.exec_driver_sql(INSERT, self._event())
            self.stop.wait(late)

    def _event(self) -> dict[str, str]:
        """Return the next event of a payment with earlier events, or the first event of a new payment."""
        if self.open and self.chance.random() < 0.4:
            key = self.chance.choice(self.open)
        else:
            self.payments += 1
            key = f"{self.number}-{self.payments}"
            self.open = [*self.open[-20:], key]
        self.events += 1
        payload = json.dumps({"payment_id": key, "padding": "x" * self.chance.randrange(300)})
        return {
            "id": f"{self.number}-{self.events:09d}",
            "key": key,
            "type": self.chance.choice(tuple(TOPIC_OF)),
            "payload": payload,
        }


class World:
    """The database, the broker and the publishers, with the begin and end of each kind of fault."""

    def __init__(self, stack: ExitStack, publishers: int, shards: int) -> None:
        self.postgres = stack.enter_context(
            Postgres(binaries=os.environ.get("PAYCTL_TEST_POSTGRES", "wheel"), within=in_memory())  # type: ignore[arg-type]
        )
        self.kafka = stack.enter_context(ApacheKafka(within=in_memory()))
        self.kafka.recreate_topics(TOPIC_OF.values(), config={"message.timestamp.type": "LogAppendTime"})
        url = self.postgres.create_database("payments")
        self.engine = make_engine(DatabaseSettings(Secret(url)))
        with self.engine.begin() as connection:
            create_tables(connection)
        upgrade(self.engine)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {**kept, "DATABASE_URL": url, "KAFKA_BROKERS": self.kafka.bootstrap}
        self.environment |= {"PAYCTL_SHARDS": str(shards), "OUTBOX_BATCH_SIZE": "200"}
        self.publishers = [Server("publisher") for _ in range(publishers)]
        for publisher in self.publishers:
            stack.callback(publisher.close)
            self.start(publisher)
        self.ended: list[str] = []
        self.returned: list[tuple[float, datetime | None]] = []
        """The broker's returns, by our clock and the database's, until the backlog of the outage is published."""

    def start(self, publisher: Server) -> None:
        """Start a publisher, which runs until it is killed."""
        publisher.run([sys.executable, "-m", "ticketbottle_payctl", "publish-outbox", "--loop"], self.environment)

    def replace_ended(self) -> None:
        """Record each publisher that ended by itself as a finding, and start it again."""
        for publisher in self.publishers:
            if not publisher.running:
                self.ended.append(publisher.log.read_text(errors="replace")[-800:])
                self.start(publisher)

    def begin(self, fault: Fault) -> None:
        """Begin a fault."""
        victim = self.publishers[fault.victim]
        match fault.kind:
            case Kind.KILL_PUBLISHER:
                victim.stop(signal.SIGKILL)
                self.start(victim)
            case Kind.FREEZE_PUBLISHER:
                victim.send(signal.SIGSTOP)
            case Kind.KILL_BROKER:
                self.returned.clear()
                self.kafka.kill()
            case Kind.STOP_BROKER:
                self.returned.clear()
                self.kafka.stop()
            case Kind.RESTART_POSTGRES:
                self.postgres.restart("immediate")

    def end(self, fault: Fault) -> None:
        """End a fault. A publisher that was replaced since then is not affected."""
        if fault.kind is Kind.FREEZE_PUBLISHER:
            self.publishers[fault.victim].send(signal.SIGCONT)
        elif fault.kind.hits_the_broker:
            self.kafka.restart()
            self.returned.append((Clock(), self._backlog()[1]))

    def pending(self) -> bool:
        """Return whether any event is pending."""
        return self._backlog()[0] is not None

    def caught_up(self) -> list[float]:
        """Return the seconds that it took to publish the backlog of each outage that is now over."""
        oldest, _ = self._backlog()
        done = [(at, since) for at, since in self.returned if since and (oldest is None or oldest > since)]
        self.returned = [one for one in self.returned if one not in done]
        return [Clock() - at for at, _ in done]

    def _backlog(self) -> tuple[datetime | None, datetime | None]:
        """Return the oldest pending event's instant and the database's time."""
        with self.engine.connect() as connection:
            oldest, now = connection.exec_driver_sql(BACKLOG).one()
            return oldest, now


def say(began: float, text: str) -> None:
    """Write a line of the log."""
    sys.stderr.write(f"{Clock() - began:7.1f} s  {text}\n")
    sys.stderr.flush()


def live_through(world: World, faults: list[Fault], seconds: float, began: float) -> list[float]:
    """Begin and end every fault at its instant. Return how many seconds each outage's backlog took."""
    steps = [(fault.at, world.begin, fault) for fault in faults]
    steps += [(fault.end, world.end, fault) for fault in faults if fault.seconds]
    steps.sort(key=lambda step: step[0])
    made_up: list[float] = []
    while steps or Clock() - began < seconds:
        world.replace_ended()
        with suppress(DBAPIError):
            made_up += world.caught_up()
        if steps and Clock() - began >= steps[0][0]:
            _, act, fault = steps.pop(0)
            say(began, f"{act.__name__}: {fault.kind.value} ({fault.seconds:.0f} s, {fault.victim})")
            act(fault)
        else:
            time.sleep(0.1)
    return made_up


def drain(world: World, began: float) -> float:
    """Wait until no event is pending, for four times the allowed time. Return the seconds it took."""
    since = Clock()
    while world.pending() and Clock() - since < 4 * DRAINED_WITHIN:
        world.replace_ended()
        time.sleep(0.1)
    say(began, "drained" if not world.pending() else "NOT drained")
    return Clock() - since


def report(world: World, faults: list[Fault], drained: float, made_up: list[float]) -> dict[str, object]:
    """Return what happened, with all failures under ``wrong``."""
    rows = rows_of(world.engine)
    messages = read_all(world.kafka.bootstrap, TOPIC_OF.values(), timeout=300)
    verdict = judge(rows, messages, by_the_broker=True)
    wrong: dict[str, object] = {name: found for name, found in asdict(verdict).items() if found}
    wrong.pop("duplicates", None)
    wrong |= {
        name: found
        for name, found in {
            "not published": [row.id for row in rows if row.state != "published"],
            "charged": [row.id for row in rows if row.retry_count or row.last_error],
            "drained too late": max([drained, *made_up]) > DRAINED_WITHIN,
            "publishers that ended by themselves": world.ended,
        }.items()
        if found
    }
    return {
        "events": len(rows),
        "payments": len({row.key for row in rows}),
        "messages": len(messages),
        "duplicates": sum(verdict.duplicates.values()),
        "faults": dict(Counter(fault.kind.name.lower() for fault in faults)),
        "outage_s": max(fault.seconds for fault in faults),
        "drained_s": round(drained, 1),
        "made_up_s": [round(seconds, 1) for seconds in made_up],
        "wrong": wrong,
    }


def main() -> int:
    """Run, report and remove everything."""
    parser = argparse.ArgumentParser(prog="make soak", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - not for secrets
    parser.add_argument("--outage", type=float, default=120.0, help="seconds of the one long outage [default: 120]")
    parser.add_argument("--publishers", type=int, default=3)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second [default: 200]")
    given = parser.parse_args()
    repro = " ".join(f"--{name} {value:g}" for name, value in vars(given).items())
    sys.stderr.write(f'seed {given.seed}; again: make soak ARGS="{repro}"\n')
    try:
        faults = plan(given.seed, 60 * given.minutes, outage=given.outage, publishers=given.publishers)
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        world = World(stack, given.publishers, given.shards)
        stop = Event()
        stack.callback(stop.set)
        writers = [Writer(world.engine, number, given.seed, given.rate / WRITERS, stop) for number in range(WRITERS)]
        began = Clock()
        for writer in writers:
            writer.start()
        made_up = live_through(world, faults, 60 * given.minutes, began)
        stop.set()
        for writer in writers:
            writer.join(30)
        drained = drain(world, began)
        found = report(world, faults, drained, made_up)
    sys.stdout.write(json.dumps({"seed": given.seed, "minutes": given.minutes, **found}, indent=2) + "\n")
    sys.stderr.write(f'{"FAILED" if found["wrong"] else "good"}; again: make soak ARGS="{repro}"\n')
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
