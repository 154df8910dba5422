"""Define types for the doctor's findings, and for the services that it examines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypedDict

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.facts import Count
from ticketbottle_payctl.providers.gateway import Credentials, Gateway

if TYPE_CHECKING:  # the key check needs neither the database driver nor the Kafka client
    from sqlalchemy import Connection, Engine

    from ticketbottle_payctl.broker.producer import Producer
    from ticketbottle_payctl.settings import KafkaSettings
    from ticketbottle_payctl.store.payments.open_orders import OpenOrders


class Status(StrEnum):
    """The severity of a finding. ``warn`` means that something works but needs attention.

    ``fail`` means that something does not work.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about the system, with its meaning and its fix.

    ``remedy`` describes a fix, ``command`` is a payctl command that fixes the fault, and ``sql`` a statement that fixes
    it. All of these, and ``meaning``, are None if there is nothing to fix. ``off`` is True if the subject of the check
    is not in use. ``harmless`` is True if nobody is waiting because of the finding. ``stops_all`` is True if payctl can
    publish nothing because of the finding.
    """

    check: str
    status: Status
    fact: str
    meaning: str | None = None
    remedy: str | None = None
    command: Command | None = None
    off: bool = False
    sql: str | None = None
    harmless: bool = False
    stops_all: bool = False


class FindingCounts(TypedDict, total=False):
    """The number of findings with each status."""

    ok: Count
    warn: Count
    fail: Count


@dataclass(frozen=True, slots=True)
class Subject:
    """The services and settings that the doctor examines.

    Each function raises ConfigError if its setting is invalid.
    """

    engine: Callable[[], Engine]
    kafka: Callable[[], KafkaSettings]
    producer: Callable[[], Producer]
    credentials: Callable[[Gateway], Credentials]
    now: Callable[[], datetime]
    shards: int = 1
    max_retries: int = 5
    schema: str = "public"
    unprotected: str | None = None
    """The reason why the database connection is not protected, or None."""
    explained_by: Sequence[str] = ()
    """The callback reasons that explain why a payment has been PENDING for too long. They have their own findings."""
    open_money: Callable[[Connection, datetime, datetime, datetime], OpenOrders] | None = None
    """A function that finds the orders in a window whose payments need manual review.

    The last argument is the current time.
    """


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """All findings of a run, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def counts(self) -> FindingCounts:
        """The number of findings with each status."""
        found = Counter(finding.status for finding in self.findings)
        return {"ok": found[Status.OK], "warn": found[Status.WARN], "fail": found[Status.FAIL]}

    @property
    def off(self) -> int:
        """The number of findings whose subject is not in use. ``counts`` counts these findings as ``ok``."""
        return sum(finding.off for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether no finding is a failure. A warning is not a failure."""
        return all(finding.status is not Status.FAIL for finding in self.findings)


def ok(check: str, fact: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(check, Status.OK, fact)


def off(check: str, fact: str) -> Finding:
    """Return a finding whose subject is not in use. The finding's status is ``ok``."""
    return Finding(check, Status.OK, fact, off=True)


def warn(  # noqa: PLR0913 - each part of a finding
    check: str,
    fact: str,
    meaning: str,
    remedy: str | None = None,
    command: Command | None = None,
    *,
    sql: str | None = None,
) -> Finding:
    """Return a finding about something that works but needs attention."""
    return Finding(check, Status.WARN, fact, meaning, remedy, command, sql=sql)


def fail(  # noqa: PLR0913 - each part of a finding
    check: str,
    fact: str,
    meaning: str,
    remedy: str | None = None,
    command: Command | None = None,
    *,
    sql: str | None = None,
) -> Finding:
    """Return a finding about something that does not work."""
    return Finding(check, Status.FAIL, fact, meaning, remedy, command, sql=sql)
