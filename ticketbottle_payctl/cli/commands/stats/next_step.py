"""Show the next step for an event that is waiting but is not yet old enough to have a cause."""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output.result import Block, bold
from ticketbottle_payctl.cli.safety.cause_advice import advice_text, command_text, next_lines
from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, RESCANS, WAITS_AFTER, Activity, Command, Idle
from ticketbottle_payctl.domain.causes.words import (
    CHECK_BROKERS,
    LOOK_AT_KAFKA_AND_BACKLOG,
    PUBLISH,
    WAIT_OR_PUBLISH,
    start_or_publish,
)
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.stats import StatsReport

_WATCH = Command(("stats",), options=("--watch",))
_LIMIT = f"an event is overdue after {duration(OVERDUE_AFTER.total_seconds())}"


def _if_idle(idle: Idle) -> tuple[str, Command]:
    """Return the advice and the command for an outbox that no publisher drains."""
    if idle.activity is Activity.WITHOUT_BROKERS:
        return CHECK_BROKERS, LOOK_AT_KAFKA_AND_BACKLOG
    if idle.activity is Activity.BETWEEN_RUNS:
        return WAIT_OR_PUBLISH, PUBLISH
    if idle.expected:
        return f"wait for the next run of the publisher; {_LIMIT}", _WATCH
    return start_or_publish(), PUBLISH


def next_step(report: StatsReport, session: Session) -> Iterator[Block]:
    """Yield the next command if an event has waited for more than ten seconds and the report has only harmless causes.

    Raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile contains a server identifier, and the server cannot be reached.
    """
    if report.harmful or (report.oldest_pending_age_s or 0) <= WAITS_AFTER.total_seconds():
        return
    words, command = f"{_LIMIT}; until then, make sure that the backlog shrinks", _WATCH
    if report.awaits_rescan:
        words = RESCANS
    elif report.idle is not None:
        words, command = _if_idle(report.idle)
    advice, pasted = advice_text(session, words, command), command_text(session, command, "stats")
    yield from next_lines(" ", bold("next:"), advice, pasted)
