"""Start the servers and processes of a soak, and apply each kind of fault to them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Protocol

from sqlalchemy.exc import DBAPIError

from tests.checker import TOPIC_OF
from tests.proxy import Proxy
from tests.servers.apache_kafka import ApacheKafka
from tests.soak.faults import Fault, Kind
from tests.soak.operators import COMMANDS, Operator
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import Server, free_port, in_memory
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

Clock = time.monotonic

BACKLOG = """
    SELECT min("createdAt") FROM outbox WHERE NOT published AND "aggregateId" NOT IN (
        SELECT e."aggregateId" FROM outbox AS e LEFT JOIN payctl.event_context AS x ON x.event_id = e.id
        WHERE NOT e.published AND e."retryCount" > 0 OR x.replay_run_id IS NOT NULL)
"""
"""The creation time of the oldest event that waits only for a publisher.

An event does not count if another event of its payment has failed or waits for a rescan.
"""

CUT = """
    SELECT pg_terminate_backend(pid) FROM (
        SELECT pid, row_number() OVER (ORDER BY pid) AS n, count(*) OVER () AS all FROM pg_stat_activity
        WHERE application_name LIKE 'payctl %%' AND backend_type = 'client backend') AS s
    WHERE (n + %(victim)s) %% 3 = 0 OR n = 1 + %(victim)s %% s.all
"""
OPERATED = {
    Kind.KILL_REPLAY: "replay",
    Kind.KILL_CLEANUP: "cleanup",
    Kind.KILL_RECONCILE: "reconcile payments",
}
READY_WITHIN = 60.0
"""The time limit, in seconds, for starting the processes. After that, the faults begin in any case."""

NO_DATABASE = "DATABASE_UNAVAILABLE"

NARROW = 2000
"""The rate, in bytes per second, of each connection to the broker while the broker's network is slow."""


class Broker(Protocol):
    """A broker and its faults. Publishers connect to ``bootstrap``, and the checker reads from ``direct``."""

    bootstrap: str
    direct: str

    def begin(self, fault: Fault) -> None:
        """Begin a fault of this broker."""

    def end(self, fault: Fault) -> None:
        """End a fault of this broker."""


class RealBroker:
    """Apache Kafka behind a proxy, as the soak's broker."""

    def __init__(self, stack: ExitStack) -> None:
        self.kafka = stack.enter_context(ApacheKafka(proxied=True, within=in_memory()))
        self.kafka.recreate_topics(TOPIC_OF.values(), config={"message.timestamp.type": "LogAppendTime"})
        self.proxy = stack.enter_context(Proxy(self.kafka.proxy_port, self.kafka.behind_proxy))
        self.bootstrap, self.direct = self.proxy.bootstrap, self.kafka.bootstrap

    def begin(self, fault: Fault) -> None:
        """Start a fault."""
        match fault.kind:
            case Kind.KILL_BROKER:
                self.kafka.kill()
            case Kind.STOP_BROKER:
                self.kafka.stop()
            case Kind.SLOW_BROKER:
                self.proxy.delay = 0.2 + fault.victim % 10 / 10
            case Kind.NARROW_BROKER:
                self.proxy.rate = NARROW
            case Kind.HALF_OPEN_BROKER:
                self.proxy.answers = False

    def end(self, fault: Fault) -> None:
        """End a fault. Reset connections on which answers were lost, because a TCP stream cannot have a gap."""
        if fault.kind.stops_the_broker:
            self.kafka.restart()
        self.proxy.delay, self.proxy.rate = 0.0, None
        if not self.proxy.answers:
            self.proxy.cut()
            self.proxy.answers = True


@dataclass
class Webhook:
    """A process that receives callbacks on ``port``."""

    server: Server
    port: int
    started: float = 0.0


class World:
    """The servers and processes of a soak, with methods to begin and end each kind of fault.

    ``landed`` counts the faults that took effect.
    """

    def __init__(
        self,
        stack: ExitStack,
        *,
        postgres: Postgres,
        url: str,
        broker: Broker,
        variables: Mapping[str, str],
        publishers: int,
        webhooks: int,
        shards: int,
        seed: int,
        pause: tuple[float, float] = (1.0, 4.0),
    ) -> None:
        self.postgres, self.broker = postgres, broker
        self.home = Path(stack.enter_context(TemporaryDirectory(prefix="payctl-soak-")))
        self.engine = make_engine(DatabaseSettings(Secret(url)), application="soak")
        stack.callback(self.engine.dispose)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.environment = {**kept, "HOME": str(self.home), "DATABASE_URL": url, "KAFKA_BROKERS": broker.bootstrap}
        self.environment |= {"PAYCTL_SHARDS": str(shards), "OUTBOX_BATCH_SIZE": "200", "LOG_LEVEL": "info", **variables}
        self.publishers = [Server("publisher") for _ in range(publishers)]
        self.webhooks = [Webhook(Server("webhook"), free_port()) for _ in range(webhooks)]
        for server in (*self.publishers, *(webhook.server for webhook in self.webhooks)):
            stack.callback(server.close)
        for publisher in self.publishers:
            self.start_publisher(publisher)
        for webhook in self.webhooks:
            self.start_webhook(webhook)
        self.operators = {
            name: Operator(name, command, self.engine, self.environment, self.home, seed, pause)
            for name, command in COMMANDS.items()
        }
        for operator in self.operators.values():
            stack.callback(operator.close)
        self.zero = Clock()
        """The start time of the schedule, on the monotonic clock."""
        self.landed: Counter[Kind] = Counter()
        self.begun: list[Fault] = []
        self._returning: Thread | None = None
        self.ended: list[str] = []
        self.returned: list[tuple[float, datetime | None]] = []
        """The times when the broker returned, by the monotonic clock and by the database's clock.

        An entry is removed when its outage's backlog is published.
        """

    def start_publisher(self, publisher: Server) -> None:
        """Start a publisher process that runs until it is killed."""
        publisher.run([sys.executable, "-m", "ticketbottle_payctl", "publish-outbox", "--loop"], self.environment)

    def restart_publishers(self) -> None:
        """Kill every publisher process and start it again."""
        for publisher in self.publishers:
            publisher.stop(signal.SIGKILL)
            self.start_publisher(publisher)

    def start_webhook(self, webhook: Webhook) -> None:
        """Start a webhook process that runs until it is killed."""
        webhook.started = Clock()
        listen = ["listen", "--port", str(webhook.port), "-o", "ndjson"]
        webhook.server.run([sys.executable, "-m", "ticketbottle_payctl", *listen], self.environment)

    def wait_until_ready(self) -> None:
        """Wait until a publisher holds a shard and every webhook process is listening."""
        sql = "SELECT count(DISTINCT owner) FROM payctl.publishers"
        deadline = Clock() + READY_WITHIN
        while Clock() < deadline:
            with self.engine.connect() as connection:
                publishing = connection.exec_driver_sql(sql).scalar_one()
            if publishing and all(_listens(webhook.port) for webhook in self.webhooks):
                return
            time.sleep(0.1)

    def replace_ended(self) -> None:
        """Restart each process that ended by itself, and record this as a finding.

        A webhook process needs the database to start. If the database is unavailable, the process reports this and
        ends, which is not a finding.
        """
        for publisher in self.publishers:
            if not publisher.running:
                self.ended.append(publisher.log.read_text(errors="replace")[-800:])
                self.start_publisher(publisher)
        for webhook in self.webhooks:
            if not webhook.server.running:
                said = webhook.server.log.read_text(errors="replace")[-800:]
                if NO_DATABASE not in said or Clock() - webhook.started > READY_WITHIN:
                    self.ended.append(said)
                self.start_webhook(webhook)

    def begin(self, fault: Fault) -> None:
        """Start a fault."""
        self.begun.append(fault)
        if fault.kind.hits_the_broker:
            self.wait_for_the_broker()
        if fault.kind.stops_the_broker:
            self.returned.clear()
        self.landed[fault.kind] += self._begin(fault)

    def _begin(self, fault: Fault) -> bool:
        """Start a fault. Return whether it had an effect.

        If the fault kills a command, the fault is counted when the command is killed.
        """
        match fault.kind:
            case Kind.KILL_PUBLISHER:
                victim = self._killable(self.publishers, fault)
                victim.stop(signal.SIGKILL)
                self.start_publisher(victim)
            case Kind.KILL_WEBHOOK:
                webhook = self._killable(self.webhooks, fault)
                webhook.server.stop(signal.SIGKILL)
                self.start_webhook(webhook)
            case Kind.FREEZE_PUBLISHER | Kind.FREEZE_WEBHOOK:
                self._frozen(fault).send(signal.SIGSTOP)
            case Kind.FREEZE_OPERATOR:
                return self._operator(fault).send(signal.SIGSTOP)
            case Kind.CUT_SESSIONS:
                return self._cut(fault.victim)
            case Kind.RESTART_POSTGRES:
                self.postgres.restart("immediate")
            case Kind.KILL_REPLAY | Kind.KILL_CLEANUP | Kind.KILL_RECONCILE:
                self.operators[OPERATED[fault.kind]].doomed.append(fault.seconds)
                return False
            case _:
                self.broker.begin(fault)
        return True

    def end(self, fault: Fault) -> None:
        """End a fault. If the process has been replaced in the meantime, the new process is not affected."""
        match fault.kind:
            case Kind.FREEZE_PUBLISHER | Kind.FREEZE_WEBHOOK:
                self._frozen(fault).send(signal.SIGCONT)
            case Kind.FREEZE_OPERATOR:
                self._operator(fault).send(signal.SIGCONT)
            case kind if kind.hits_the_broker:
                self._returning = Thread(target=self._end_of_the_broker_s, args=(fault,), daemon=True)
                self._returning.start()

    def wait_for_the_broker(self) -> None:
        """Wait until the broker is available again.

        The broker takes a few seconds to start. In the meantime, the run injects further faults.
        """
        if self._returning is not None:
            self._returning.join(120)

    def _end_of_the_broker_s(self, fault: Fault) -> None:
        self.broker.end(fault)
        if fault.kind.stops_the_broker:
            self.returned.append((Clock(), self._database_time()))

    def faults(self) -> dict[str, int]:
        """Return the number of faults of each kind that had an effect."""
        found = Counter(self.landed)
        for kind, name in OPERATED.items():
            found[kind] = self.operators[name].kills
        return {kind.name.lower(): found[kind] for kind in Kind if found[kind]}

    def pending(self) -> bool:
        """Return whether any event is unpublished."""
        with self.engine.connect() as connection:
            return bool(
                connection.exec_driver_sql("SELECT EXISTS (SELECT FROM outbox WHERE NOT published)").scalar_one()
            )

    def backlog(self) -> datetime | None:
        """Return the creation time of the oldest event that waits only for a publisher."""
        with self.engine.connect() as connection:
            oldest: datetime | None = connection.exec_driver_sql(BACKLOG).scalar_one()
            return oldest

    def caught_up(self) -> list[tuple[float, float]]:
        """For each outage whose backlog is published, return the recovery time and the allowed extra time, in seconds.

        Each fault that ended after the broker's return allows five more seconds, because a fault can freeze a publisher
        for that long.
        """
        if not self.returned:
            return []
        oldest = self.backlog()
        done = [(at, since) for at, since in self.returned if since and (oldest is None or oldest > since)]
        self.returned = [one for one in self.returned if one not in done]
        return [(Clock() - at, 5.0 * sum(self.zero + fault.end > at for fault in self.begun)) for at, _ in done]

    def _database_time(self) -> datetime | None:
        with suppress(DBAPIError), self.engine.connect() as connection:
            now: datetime = connection.exec_driver_sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'").scalar_one()
            return now
        return None

    def _cut(self, victim: int) -> bool:
        with suppress(DBAPIError), self.engine.connect() as connection:
            return bool(connection.exec_driver_sql(CUT, {"victim": victim}).fetchall())
        return False

    def _killable(self, servers, fault: Fault):
        return servers[1 + fault.victim % (len(servers) - 1)] if len(servers) > 1 else servers[0]

    def _frozen(self, fault: Fault) -> Server:
        servers = self.publishers
        if fault.kind is Kind.FREEZE_WEBHOOK:
            servers = [webhook.server for webhook in self.webhooks]
        return servers[fault.victim % len(servers)]

    def _operator(self, fault: Fault) -> Operator:
        operators = list(self.operators.values())
        return operators[fault.victim % len(operators)]


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
