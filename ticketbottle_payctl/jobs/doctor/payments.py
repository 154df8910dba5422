"""Check that no payment from the last seven days is overdue, which means PENDING without an answer from its gateway."""

from __future__ import annotations

from datetime import UTC, timedelta

from sqlalchemy import Connection

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.domain.payment import OVERDUE_AFTER
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.formats import count, duration
from ticketbottle_payctl.jobs.doctor.callbacks import WITHIN, may_read
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, ok, warn
from ticketbottle_payctl.providers.queries import known_since
from ticketbottle_payctl.store.db.engine import Limits, is_statement_timeout, transaction
from ticketbottle_payctl.store.outbox import claim
from ticketbottle_payctl.store.payments.created_in_window import OverdueRules, SilentPayments, silent

LIMITS = Limits(statement=timedelta(seconds=15), jit=False)
MOST = 10_000
"""The maximum number of overdue payments that the doctor counts."""

_NAME = "payments"
_MEANING = "some customers may have paid but have no ticket"
_HOW = "ask the gateways; this changes nothing"
_PORTAL = "look in the gateway's portal"
_RECORD = "then record what you found with payctl close"
_ASK = Command(("reconcile", "payments"), options=("-n",))


def check(subject: Subject) -> list[Finding]:
    """Count at most 10,000 overdue payments in the same way as ``payctl report``, for at most 15 seconds.

    The finding is a warning, because only the gateways know whether the customers have paid. If a gateway still answers
    a status query about one of the payments, the finding contains the command that asks the gateway.

    Raises:
        DatabaseUnavailableError: the server cannot be reached.
    """
    try:
        with transaction(subject.engine(), LIMITS, commit=False) as connection:
            found = _overdue(connection, subject)
    except DatabaseUnavailableError as error:
        if not is_statement_timeout(error):
            raise
        return [warn(_NAME, "the overdue payments were not counted within the time limit", _MEANING, _HOW, _ASK)]
    if found is None:
        fact = "payctl cannot count the overdue payments: a table is missing, or the role is not allowed to read it"
        return [warn(_NAME, fact, _MEANING, "see the results of the schema and grants checks")]
    number, closed = found.number, f"; {found.closed:,} closed by an operator" if found.closed else ""
    if not number:
        return [ok(_NAME, f"no payment from the last {WITHIN.days} days is overdue{closed}")]
    are, age = "is" if number == 1 else "are", duration(OVERDUE_AFTER.total_seconds())
    told = count(number, "payment") if number <= MOST else f"more than {count(MOST, 'payment')}"
    fact = f"{told} from the last {WITHIN.days} days {are} PENDING for over {age}{closed}"
    if not found.forgotten:
        return [warn(_NAME, fact, _MEANING, _HOW, _ASK)]
    if found.forgotten == number <= MOST:
        they = "it is" if number == 1 else "they are"
        return [warn(_NAME, fact, _MEANING, f"{_PORTAL}, because {they} too old for its status query; {_RECORD}")]
    be = "is" if found.forgotten == 1 else "are"
    # Above the limit, this number covers only the payments that happened to be read.
    old = f"{count(found.forgotten, 'payment')} {be}" if number <= MOST else "some may be"
    return [warn(_NAME, fact, _MEANING, f"{_HOW}; {old} too old for a status query, so {_PORTAL} too; {_RECORD}", _ASK)]


def _overdue(connection: Connection, subject: Subject) -> SilentPayments | None:
    if not may_read(connection):
        return None
    until = claim.now(connection).replace(tzinfo=UTC)
    rules = OverdueRules(OVERDUE_AFTER, subject.explained_by, known_since(until))
    return silent(connection, until - WITHIN, until, rules, most=MOST + 1)
