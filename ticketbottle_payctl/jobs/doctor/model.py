"""What an examination finds, and what it looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from ticketbottle_payctl.providers.gateway import Credentials, Gateway

if TYPE_CHECKING:  # an examination of keys needs neither driver
    from sqlalchemy import Engine

    from ticketbottle_payctl.broker.producer import Producer
    from ticketbottle_payctl.settings import KafkaSettings


class Status(StrEnum):
    """How bad it is: ``warn`` works today, ``fail`` does not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact, what it means, and the command or SQL that mends it; the last two where there is something to mend."""

    check: str
    status: Status
    fact: str
    meaning: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined. Each supplier connects or reads when it is called, and raises ConfigError where it cannot."""

    engine: Callable[[], Engine]
    kafka: Callable[[], KafkaSettings]
    producer: Callable[[], Producer]
    credentials: Callable[[Gateway], Credentials]
    now: Callable[[], datetime]
    shards: int = 1
    schema: str = "public"


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Everything that was found, in the order in which it was looked at."""

    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each status."""
        found = Counter(finding.status.value for finding in self.findings)
        return {status.value: found[status.value] for status in Status}

    @property
    def healthy(self) -> bool:
        """Nothing fails. A warning is no failure."""
        return all(finding.status is not Status.FAIL for finding in self.findings)


def ok(check: str, fact: str) -> Finding:
    """As it should be."""
    return Finding(check, Status.OK, fact)


def warn(check: str, fact: str, meaning: str, remedy: str | None = None) -> Finding:
    """Works, and will not always."""
    return Finding(check, Status.WARN, fact, meaning, remedy)


def fail(check: str, fact: str, meaning: str, remedy: str | None = None) -> Finding:
    """Does not work."""
    return Finding(check, Status.FAIL, fact, meaning, remedy)
