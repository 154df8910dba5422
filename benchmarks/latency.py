"""Measure the time from committing an event to the arrival of its message in Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

from benchmarks import processes
from benchmarks.brokers import Broker, apache_kafka
from benchmarks.database import Database, database
from benchmarks.options import Options
from benchmarks.processes import ROOT, python
from benchmarks.report import Section
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.sandbox.kafka_messages import read_all

RATES = (10, 100, 1000)
_ROUNDS = 3
_HALF_A_MILLISECOND = 0.0005  # the broker truncates its timestamp to whole milliseconds


@dataclass(frozen=True, slots=True)
class Taken:
    """The results of one round at one rate. Delays are in milliseconds.

    ``cpu`` is the publisher's CPU use as a share of one core.
    """

    rate: int
    events: int
    p50: float
    p99: float
    highest: float
    cpu: float
    others: float


def latency(options: Options) -> list[Section]:
    """Measure each rate in turn, in several rounds, while ``payctl publish-outbox --loop`` runs.

    Return a section with one row for each rate.
    """
    section = Section("latency", "Latency from commit to append (Apache Kafka, acks=all)")
    section.columns = ("events/s asked", "written", "p50 ms", "p99 ms", "highest ms", "CPU of one core", "others")
    try:
        with database() as server, apache_kafka() as broker:
            server.fill(0, published=options.published)
            taken = [
                _measure(server, broker, rate, options) for _ in range(min(options.runs, _ROUNDS)) for rate in RATES
            ]
        for rate in RATES:
            _tell(section, [each for each in taken if each.rate == rate])
    except PayctlError as error:
        section.notes.append(f"Left out: {error.message}.")
    return [section]


def _measure(server: Database, broker: Broker, rate: int, options: Options) -> Taken:
    environ = {"DATABASE_URL": server.url, "KAFKA_BROKERS": broker.bootstrap}
    loop = python("ticketbottle_payctl", "publish-outbox", "--loop")
    processes.wait_for_quiet(options.patience)
    publisher = subprocess.Popen(  # noqa: S603 - our own command
        loop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env={**processes.inherited(), **environ}
    )
    try:
        # When this returns, the publisher has started and its connections are open.
        processes.run(python("benchmarks.writer", "20", "1"), environ)
        cpu, busy, began = processes.cpu_of(publisher.pid), processes.busy(), time.perf_counter()
        database_cpu, broker_cpu = server.cpu(), processes.cpu_of(broker.pid)
        writer = processes.run(python("benchmarks.writer", str(rate), str(options.seconds)), environ)
        wall = time.perf_counter() - began
        cpu = processes.cpu_of(publisher.pid) - cpu
        own = cpu + writer.cpu + server.cpu() - database_cpu + processes.cpu_of(broker.pid) - broker_cpu
        others = max(0.0, (processes.busy() - busy - own) / wall / processes.CORES)
        time.sleep(2)
    finally:
        publisher.terminate()
        publisher.wait(60)
    delays = _delays(broker, json.loads(writer.output))
    percent = quantiles(delays, n=100)
    p50, p99 = percent[49] * 1000, percent[98] * 1000
    taken = Taken(rate, len(delays), p50, p99, max(delays) * 1000, cpu / wall, others)
    sys.stderr.write(f"  {rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms, CPU {cpu / wall:.0%}, others {others:.0%}\n")
    return taken


def _tell(section: Section, taken: Sequence[Taken]) -> None:
    """Add a row for one rate to the section, with the medians of all rounds and the maximum delay."""
    rate = taken[0].rate
    p50, p99, cpu = (median(values) for values in zip(*((t.p50, t.p99, t.cpu) for t in taken), strict=True))
    section.rows.append(
        (
            f"{rate:,}",
            f"{sum(each.events for each in taken):,}",
            f"{p50:.1f}",
            f"{p99:.1f}",
            f"{max(each.highest for each in taken):.1f}",
            f"{cpu:.0%}",
            f"{max(each.others for each in taken):.0%}",
        )
    )
    section.samples += [asdict(each) for each in taken]
    if rate == RATES[-1]:
        section.at_most("latency at 1,000 events/s, p50", p50, 10, " ms")
        section.at_most("latency at 1,000 events/s, p99", p99, 25, " ms")
        section.at_most("CPU at 1,000 events/s, as a share of one core", cpu * 100, 40, " %")


def _delays(broker: Broker, written: dict[str, float]) -> list[float]:
    """Return the seconds from each event's commit to its message's timestamp. Every event must have a message."""
    appended: dict[str, float] = {}
    for message in read_all(broker.bootstrap, TOPICS.values(), timeout=60):
        event_id = (message.header["eventId"] or b"").decode()
        if event_id in written:
            appended.setdefault(event_id, message.timestamp / 1000 + _HALF_A_MILLISECOND)
    return [appended[event_id] - committed for event_id, committed in written.items()]
