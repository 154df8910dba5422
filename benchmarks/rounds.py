"""Let the contenders take turns in several rounds, and compare the medians of their undisturbed samples.

In every second round, the contenders take turns in reverse order. The CPU time of other processes is measured during
each sample. If other processes used more than a tenth of the machine's CPU capacity, the sample counts only if there is
no better one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks import processes
from benchmarks.brokers import Broker
from benchmarks.database import Database
from benchmarks.options import Options

_DISTURBED = 0.1
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """The measurements from one turn of a contender.

    CPU times are in microseconds per event, and ``wal`` is in bytes per event. ``others`` is the share of the machine's
    CPU capacity that other processes used.
    """

    contender: str
    events: int
    seconds: float
    cpu: float
    database_cpu: float
    broker_cpu: float
    rss: float
    wal: float
    others: float

    @property
    def rate(self) -> float:
        """Return the number of events per second."""
        return self.events / self.seconds

    @property
    def disturbed(self) -> bool:
        """Return whether other processes used too much CPU capacity during the sample."""
        return self.others > _DISTURBED


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender's name, command and settings. ``prepare`` prepares the table for a turn.

    If ``drains`` is true, there must not be any pending events after a turn. If ``sends`` is true, the topics must have
    grown by at least the number of events that the contender reports.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    prepare: Callable[[], None]
    drains: bool = True
    sends: bool = True


class Rounds:
    """The samples of contenders that take turns."""

    def __init__(self, database: Database, broker: Broker, options: Options) -> None:
        self._database, self._broker, self._options = database, broker, options
        self.samples: list[Sample] = []
        self.failed: dict[str, str] = {}

    def warm_up(self, contender: Contender) -> None:
        """Run one turn without recording the sample. A Java broker is slow until its code is compiled."""
        self._sample(contender)

    def run(self, contenders: Sequence[Contender], *, may_fail: bool = False) -> None:
        """Run the rounds, with the contenders in reverse order in every second round.

        If ``may_fail`` is true, contenders that fail are left out of later rounds, and :attr:`failed` says why.
        """
        for number in range(self._options.runs):
            for contender in contenders if number % 2 == 0 else contenders[::-1]:
                if contender.name in self.failed:
                    continue
                try:
                    self.samples.append(self._undisturbed(contender))
                except processes.ChildFailedError as error:
                    if not may_fail:
                        raise
                    self.failed[contender.name] = " ".join(str(error).split())[-200:]

    def best(self, name: str) -> list[Sample]:
        """Return a contender's undisturbed samples. If all its samples are disturbed, return all of them."""
        found = [sample for sample in self.samples if sample.contender == name]
        return [sample for sample in found if not sample.disturbed] or found

    def rate(self, name: str) -> float:
        """Return a contender's median rate in events per second."""
        return median(sample.rate for sample in self.best(name))

    def ratio(self, name: str, to: str) -> float:
        """Return the ratio of one contender's rate to another's."""
        return self.rate(name) / self.rate(to)

    def row(self, name: str, *, to: str) -> tuple[str, ...]:
        """Return a contender's table row, with the columns in :data:`COLUMNS`."""
        best = self.best(name)
        costs = [
            median(values)
            for values in zip(*((s.cpu, s.database_cpu, s.broker_cpu, s.rss, s.wal) for s in best), strict=True)
        ]
        cpu, database_cpu, broker_cpu, rss, wal = (f"{cost:.1f}" if cost < 100 else f"{cost:.0f}" for cost in costs)  # noqa: PLR2004
        return (
            name,
            f"{self.rate(name):,.0f}",
            f"{self.ratio(name, to):.2f}",
            cpu,
            database_cpu,
            broker_cpu,
            rss,
            wal,
            str(len(best)),
        )

    @property
    def records(self) -> list[dict[str, object]]:
        """Return every sample, including disturbed ones."""
        return [{"broker": self._broker.name, **asdict(sample)} for sample in self.samples]

    def _undisturbed(self, contender: Contender) -> Sample:
        sample = self._sample(contender)
        for _ in range(_ATTEMPTS - 1):
            if not sample.disturbed or self._options.patience < 10:  # noqa: PLR2004
                break
            self.samples.append(sample)
            sample = self._sample(contender)
        return sample

    def _sample(self, contender: Contender) -> Sample:
        contender.prepare()
        messages = self._broker.messages() if contender.sends else 0
        processes.wait_for_quiet(self._options.patience)
        broker, database, busy, wal = self._costs()
        began = time.perf_counter()
        ended = processes.run(contender.command, contender.environ)
        wall = time.perf_counter() - began
        spent = [after - before for after, before in zip(self._costs(), (broker, database, busy, wal), strict=True)]
        told = json.loads(ended.output.splitlines()[-1])
        events = told["events"]
        if contender.drains and self._database.pending():
            message = f"{contender.name} left {self._database.pending()} rows"
            raise processes.ChildFailedError(message)
        if contender.sends and self._broker.messages() - messages < events:
            message = f"{contender.name} reports {events} sent events, but the topics grew by fewer messages"
            raise processes.ChildFailedError(message)
        micro = 1e6 / events
        own = ended.cpu + spent[0] + spent[1]
        sample = Sample(
            contender=contender.name,
            events=events,
            seconds=told["seconds"],
            cpu=told["cpu_s"] * micro,
            database_cpu=spent[1] * micro,
            broker_cpu=spent[0] * micro,
            rss=told["rss_mib"] or 0.0,
            wal=spent[3] / events,
            others=max(0.0, (spent[2] - own) / wall / processes.CORES),
        )
        sys.stderr.write(f"  {contender.name}: {sample.rate:,.0f}/s, others {sample.others:.0%}\n")
        return sample

    def _costs(self) -> tuple[float, float, float, float]:
        return processes.cpu_of(self._broker.pid), self._database.cpu(), processes.busy(), float(self._database.wal())


COLUMNS = (
    "contender", "events/s", "ratio", "CPU µs/event", "PostgreSQL µs/event", "broker µs/event", "max RSS MiB",
    "WAL bytes/event", "samples",
)  # fmt: skip
