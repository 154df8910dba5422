"""Run a soak. All participants work under faults, then they finish, and then the soak checks the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests import stand_ins
from tests.checker import audit
from tests.checker.payments import states_of
from tests.security.canaries import IDENTIFIERS, Canaries
from tests.soak.customers import Customer, Ledger
from tests.soak.faults import Fault
from tests.soak.judgement import Times, judgement
from tests.soak.operators import OVERDUE_AFTER, cleanup, dead_again, interrupted, reconciles, resume
from tests.soak.samples import Sampler
from tests.soak.world import Broker, Clock, World
from tests.soak.writers import Writer
from ticketbottle_payctl.jobs.publish_outbox.backlog import RESCAN_EVERY
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine
from ticketbottle_payctl.store.db.migrations import upgrade

DRAINED_WITHIN = 15.0
"""The time limit, in seconds, for draining the outbox after the last fault or after an outage.

This limit covers the longest wait between two broker probes, a probe, and the time to publish.
"""

REPLAYED_WITHIN = RESCAN_EVERY + DRAINED_WITHIN
"""The time limit, in seconds, for replayed events, which a publisher finds at its next rescan."""

DATABASE = "payments"
ROUNDS = 6
"""The maximum number of times that the final commands run."""
_ALL = 100_000
"""The --limit of the final reconcile, which is high enough for all payments, even if many newer ones stay pending."""


@dataclass(frozen=True)
class Size:
    """The size of a soak. All rates are per second."""

    publishers: int = 3
    webhooks: int = 3
    shards: int = 4
    writers: int = 2
    customers: int = 3
    events: float = 200.0
    payments: float = 8.0
    pause: tuple[float, float] = (1.0, 4.0)
    """The shortest and the longest pause, in seconds, between two commands of one operator."""
    pace: float = 1.0
    """A factor for callback delays."""


class Secrets:
    """The secrets of a soak. Each secret is a canary."""

    def __init__(self) -> None:
        self.canaries = Canaries()
        self.keys = {
            name: value if name in IDENTIFIERS else self.canaries.letters(name)
            for name, value in stand_ins.KEYS.items()
        }
        self.accounts = {
            "accountNumber": self.canaries.number("account of the shop"),
            "counterAccountNumber": self.canaries.number("account of the customer", 16),
            "counterAccountName": self.canaries.letters("account holder"),
        }
        self.password = self.canaries.letters("password of the database")


def prepare_database(postgres: Postgres, secrets: Secrets, *, name: str = DATABASE, template: str | None = None) -> str:
    """Create the database with the checker's audit tables, and a role with the secret password.

    Return the role's URL.
    """
    url = postgres.create_database(name, template=template) if template else postgres.create_database(name)
    engine = make_engine(DatabaseSettings(Secret(url)))
    if template is None:
        with engine.begin() as connection:
            create_tables(connection)
        upgrade(engine)
    audit.install(engine)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name}_role LOGIN SUPERUSER PASSWORD '{secrets.password}'"))
    engine.dispose()
    return f"postgresql://{name}_role:{secrets.password}@127.0.0.1:{postgres.port}/{name}"


def run(
    stack: ExitStack,
    faults: Sequence[Fault],
    seconds: float,
    *,
    seed: int,
    size: Size,
    postgres: Postgres,
    url: str,
    broker: Broker,
    secrets: Secrets,
    enough: Event,
    patience: float = 1.0,
    by_the_broker: bool = True,
    quiet: bool = False,
    hurry: bool = False,
) -> dict[str, Any]:
    """Run all participants under faults until ``seconds`` have passed or ``enough`` is set. Return the result."""
    before = dict(stand_ins.KEYS)
    stack.callback(stand_ins.KEYS.update, before)
    stand_ins.KEYS.update(secrets.keys)
    gateways = stack.enter_context(stand_ins.serving(stand_ins.Gateways()))
    world = World(
        stack,
        postgres=postgres,
        url=url,
        broker=broker,
        variables=gateways.environment,
        publishers=size.publishers,
        webhooks=size.webhooks,
        shards=size.shards,
        seed=seed,
        pause=size.pause,
    )
    ledger, stop = Ledger(), Event()
    stack.callback(stop.set)
    ports = [webhook.port for webhook in world.webhooks]
    rate = size.events / size.writers
    writers = [Writer(world.engine, number, seed, rate, stop) for number in range(size.writers)]
    customers = [
        Customer(
            world.engine, number, seed, size.payments / size.customers, list(ports), ledger, gateways, secrets.keys,
            secrets.accounts, size.pace,
        )
        for number in range(size.customers)
    ]  # fmt: skip
    sampler = Sampler(world, max(0.5, seconds / 300))
    stack.callback(sampler.stop.set)
    course = _Course(world, quiet=quiet)
    world.wait_until_ready()
    for actor in (*writers, *customers, *world.operators.values(), sampler):
        actor.start()
    made_up = course.live_through(faults, seconds, enough)
    ran = Clock() - world.zero
    stop.set()
    for writer in writers:
        writer.join(30)
    sampler.stop.set()
    sampler.join(10)
    drained = course.wait("drained", lambda: world.backlog() is not None, 4 * DRAINED_WITHIN * patience)
    for customer in customers:
        customer.stop.set()
    for customer in customers:
        customer.join(60)
    course.finish_operators(ledger)
    if hurry:  # a new publisher reads everything, so no event waits for a rescan
        world.restart_publishers()
    replayed = course.wait("replayed", world.pending, 2 * REPLAYED_WITHIN * patience)
    world.operators["cleanup"].once(cleanup(world.operators["cleanup"]))
    times = Times(drained, replayed, DRAINED_WITHIN * patience, REPLAYED_WITHIN * patience, made_up)
    found = judgement(world, ledger, sampler, secrets.canaries, times, by_the_broker=by_the_broker)
    return {"minutes": round(ran / 60, 1), **found}


class _Course:
    def __init__(self, world: World, *, quiet: bool) -> None:
        self.world, self.quiet = world, quiet

    def say(self, what: str) -> None:
        """Print a line with the elapsed time, unless the soak is quiet."""
        if not self.quiet:
            sys.stderr.write(f"{Clock() - self.world.zero:7.1f} s  {what}\n")
            sys.stderr.flush()

    def live_through(self, faults: Sequence[Fault], seconds: float, enough: Event) -> list[tuple[float, float]]:
        """Start and end every fault at its time.

        Return each outage's recovery time and the extra time allowed for it.
        """
        world = self.world
        world.zero = Clock()
        steps = [(fault.at, world.begin, fault) for fault in faults]
        steps += [(fault.end, world.end, fault) for fault in faults if fault.seconds and not fault.kind.kills_a_command]
        steps.sort(key=lambda step: step[0])
        made_up: list[tuple[float, float]] = []
        while steps or Clock() - world.zero < seconds:
            if enough.is_set():
                steps = [step for step in steps if step[1] == world.end and step[2] in world.begun]
                seconds = 0.0
            world.replace_ended()
            with suppress(DBAPIError):
                made_up += world.caught_up()
            if steps and (Clock() - world.zero >= steps[0][0] or seconds == 0.0):
                _, act, fault = steps.pop(0)
                self.say(f"{act.__name__}: {fault.kind.value} ({fault.seconds:.1f} s, {fault.victim})")
                act(fault)
            else:
                time.sleep(0.05)
        world.wait_for_the_broker()
        return made_up

    def wait(self, what: str, going: Any, most: float) -> float:
        """Wait while ``going()`` is true, but at most ``most`` seconds. Return the waiting time in seconds."""
        since = Clock()
        while (still := going()) and Clock() - since < most:
            self.world.replace_ended()
            time.sleep(0.1)
        self.say(f"NOT {what}" if still else what)
        return Clock() - since

    def finish_operators(self, ledger: Ledger) -> None:
        """Stop the operators' threads and wait for them.

        Then resume interrupted runs, replay dead events, and settle overdue payments.
        """
        operators = self.world.operators
        for operator in operators.values():
            operator.stop.set()
        for operator in operators.values():
            operator.join(120)
            operator.doomed.clear()
        replay, reconcile = operators["replay"], operators["reconcile payments"]
        for _ in range(ROUNDS):
            for run_id in interrupted(self.world.engine):
                replay.once(resume(run_id))
            if not self._dead():
                break
            replay.once(dead_again(replay))
        for _ in range(ROUNDS):
            states = states_of(self.world.engine)
            if all(states.get(id_) != "PENDING" for id_, ends in ledger.reported.items() if ends != "PENDING"):
                break
            time.sleep(OVERDUE_AFTER / 2)
            reconcile.once(reconciles(reconcile, limit=_ALL))

    def _dead(self) -> bool:
        with self.world.engine.connect() as connection:
            sql = 'SELECT EXISTS (SELECT FROM outbox WHERE NOT published AND "retryCount" >= 5)'
            return bool(connection.exec_driver_sql(sql).scalar_one())
