"""Drain an outbox with one contender: ``python -m benchmarks.contenders NAME ROWS BATCH``.

``DATABASE_URL`` and ``KAFKA_BROKERS`` specify the servers. Each contender runs in its own process and prints one line
of JSON. The line contains the number of events, the elapsed time and CPU time in seconds, and the peak memory use. The
interpreter's start-up time is not included.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from os import environ
from pathlib import Path

from benchmarks import limits
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.store.db.engine import make_engine

Other = subprocess.Popen[bytes]


def payctl(_rows: int, batch: int, shards: int = 1) -> int:
    """Run the same job as ``payctl publish-outbox``, from connecting to the report."""
    settings = Settings.from_env(environ)
    engine = make_engine(settings.database)
    client = Producer(producer_config(settings.kafka))
    report = publish_outbox(engine, client, PublishOptions(batch_size=batch, shards=shards))
    client.close()
    engine.dispose()
    return report.counts.published


def payctl_during_cleanup(rows: int, batch: int, _other: Other) -> int:
    """Publish while ``cleanup`` deletes rows that were published more than a day ago."""
    return payctl(rows, batch)


def payctl_one_of_two(rows: int, batch: int) -> int:
    """Publish as one of two publishers that share the payments. Start when the parent process sends a line."""
    _tell()
    sys.stdin.readline()
    return payctl(rows, batch, shards=2)


def payctl_two(rows: int, batch: int, other: Other) -> int:
    """Publish with two publishers that share the payments."""
    other.stdin.write(b"\n")
    other.stdin.flush()
    done = payctl(rows, batch, shards=2)
    told = json.loads(other.stdout.read())
    return done + int(told["events"])


def clean_up(_rows: int, _batch: int) -> int:
    """Run the same job as ``payctl cleanup``."""
    engine = make_engine(Settings.from_env(environ).database)
    return cleanup(engine, retention=timedelta(days=1), max_retries=5).deleted


def clean_up_telling(_rows: int, _batch: int) -> int:
    """Run the same job as ``payctl cleanup``, and notify the parent process after each batch."""
    engine = make_engine(Settings.from_env(environ).database)
    return cleanup(engine, retention=timedelta(days=1), max_retries=5, done=lambda _: _tell()).deleted


@contextmanager
def next_to(name: str) -> Iterator[Other]:
    """Run another contender in its own process during the block. Yield after its first output.

    Raises:
        SystemExit: the other contender did not start, or failed before the block ended.
    """
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "benchmarks.contenders", name, "0", "1000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        if not other.stdout.read(1):
            message = f"{name} did not begin"
            raise SystemExit(message)
        yield other
        if other.poll():
            message = f"{name} failed"
            raise SystemExit(message)
        other.terminate()


CONTENDERS: dict[str, Callable[..., int]] = {
    "serial": limits.serial,
    "overlapped-by-id": limits.overlapped_by_id,
    "overlapped-by-ctid": limits.overlapped_by_ctid,
    "producer": limits.producer,
    "payctl": payctl,
    "payctl-during-cleanup": payctl_during_cleanup,
    "payctl-two": payctl_two,
    "payctl-one-of-two": payctl_one_of_two,
    "cleanup": clean_up,
    "cleanup-telling": clean_up_telling,
}
_OTHERS = {"payctl-during-cleanup": "cleanup-telling", "payctl-two": "payctl-one-of-two"}


def main() -> None:
    """Run one contender, and print its number of events, time, CPU time and memory."""
    name, rows, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with _other(name) as other:
        cpu, began = time.process_time(), time.perf_counter()
        events = CONTENDERS[name](rows, batch, *([other] if other else []))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    sys.stdout.write(
        json.dumps({"seconds": seconds, "cpu_s": cpu, "events": events, "rss_mib": _highest_memory()}) + "\n"
    )


def _other(name: str) -> AbstractContextManager[Other | None]:
    return next_to(_OTHERS[name]) if name in _OTHERS else nullcontext()


def _tell() -> None:
    os.write(1, b".")


def _highest_memory() -> float | None:
    """Return the process's peak memory use so far, in MiB. The value from wait4 would include the parent's memory."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found.group(1)) / 1024 if found else None


if __name__ == "__main__":
    main()
