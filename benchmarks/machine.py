"""Facts about the machine and the versions, without a name or a path of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import confluent_kafka
import psycopg2

PACKAGES = ("confluent-kafka", "psycopg2-binary", "sqlalchemy", "typer", "rich")


def facts() -> dict[str, str]:
    """What a reader must know to compare figures."""
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "librdkafka": confluent_kafka.libversion()[0],
        "libpq": str(psycopg2.__libpq_version__),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", described.read_text()) if described.exists() else None
    return found.group(1).strip() if found else platform.machine()
