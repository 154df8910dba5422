"""Report pending events that are being retried, are in a long backlog, or are waiting for an unknown reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ticketbottle_payctl.domain.causes.cause import Cause, CauseKind, Command
from ticketbottle_payctl.domain.causes.evidence import OVERDUE_AFTER, WAITS_AFTER, Brokers, Evidence, Reason, Waiting
from ticketbottle_payctl.domain.causes.publishing import NEXT_SCHEDULED_RUN, RESCANS, ended_lately
from ticketbottle_payctl.domain.causes.words import (
    CHECK_BROKERS,
    LOOK_AT_KAFKA_AND_BACKLOG,
    PUBLISH,
    WAIT_OR_PUBLISH,
    named,
    next_run,
    overdue,
    show,
    total,
    waited,
)
from ticketbottle_payctl.formats import count, duration

_WATCH = Command(("stats",), options=("--watch",))


def of_failures(evidence: Evidence) -> Iterator[Cause]:
    """Yield a cause for overdue events that keep failing, and a cause for failed events whose retry is not due yet.

    An event that waits behind a failed event of its payment has not failed itself, and is counted separately.
    """
    active = evidence.lately and evidence.slot_active is None
    failing = overdue(evidence, Reason.FAILING) if active else []
    behind = overdue(evidence, Reason.BEHIND_FAILING) if active else []
    not_due = [one for one in evidence.waiting if one.reason is Reason.NOT_DUE]
    if failing:
        oldest = max(failing, key=lambda one: one.oldest_s)
        fact = f"{waited(evidence, failing)}, and failed: {_error(oldest)}{_more_behind(failing, behind)}"
        event = named(oldest.id, oldest.order_code)
        last = ended_lately(evidence)
        tries = (
            f"no publisher is running: {last}" if last else "the publisher tries it again until it is out of retries"
        )
        yield _of_failing(evidence, total([*failing, *behind]), fact, f"the oldest is {event}; {tries}", oldest)
    elif behind and not not_due:
        oldest = max(behind, key=lambda one: one.oldest_s)
        whose = "its" if total(behind) == 1 else "their"
        fact = f"{waited(evidence, behind)} behind a failed event of {whose} payment: {_error(oldest)}"
        meaning = f"the oldest is {named(oldest.id, oldest.order_code)}; it has not failed itself"
        yield _of_failing(evidence, total(behind), fact, meaning, oldest)
    if not_due:
        events = total(not_due)
        soonest = min(not_due, key=lambda one: one.due_in_s or 0)
        when = duration(max(0.0, soonest.due_in_s or 0))
        fact = f"{count(events, 'event')} failed and {'waits' if events == 1 else 'wait'} for the next retry in {when}"
        late = [] if failing else behind
        event = named(soonest.id, soonest.order_code)
        meaning = f"the last error of {event}: {soonest.error or 'none was recorded'}"
        command = show(soonest.id)
        fact += _more_behind(not_due, late)
        yield Cause(CauseKind.NOT_DUE, events + total(late), fact, meaning, None, command)


def _of_failing(evidence: Evidence, events: int, fact: str, meaning: str, oldest: Waiting) -> Cause:
    """Return the cause for overdue retries. If no publisher is running, only the next run can send the events."""
    if ended_lately(evidence):
        return Cause(CauseKind.FAILING, events, fact, meaning, WAIT_OR_PUBLISH, PUBLISH)
    return Cause(CauseKind.FAILING, events, fact, meaning, "look at its payment", show(oldest.id))


def _error(waiting: Waiting) -> str:
    return waiting.error or "no error was recorded"


def _more_behind(failed: Sequence[Waiting], behind: Sequence[Waiting]) -> str:
    """Return a phrase that counts the events behind failed events, or an empty string if there are none."""
    if not behind:
        return ""
    more = "1 more event waits" if total(behind) == 1 else f"{total(behind):,} more events wait"
    return f"; {more} behind {'it' if total(failed) == 1 else 'them'}"


def of_sendable(
    evidence: Evidence, ready: Sequence[Waiting], unanswered: Sequence[Waiting], brokers: Brokers | None
) -> Iterator[Cause]:
    """Yield the causes for overdue events that no other cause explains.

    The last attempt to send the ``unanswered`` events ended with an error. If nothing else explains the ``ready``
    events, they wait for the same reason.
    """
    rest = unexplained(evidence, ready, brokers) if ready else None
    if unanswered:
        same = rest is not None and rest.kind is CauseKind.UNKNOWN
        yield _of_unanswered(evidence, unanswered, ready if same else (), brokers)
        rest = None if same else rest
    if rest is not None:
        yield rest


def _of_unanswered(
    evidence: Evidence, unanswered: Sequence[Waiting], others: Sequence[Waiting], brokers: Brokers | None
) -> Cause:
    oldest = max(unanswered, key=lambda one: one.oldest_s)
    both = [*unanswered, *others]
    which = f" for {total(unanswered):,} of them" if others else ""
    fact = f"{waited(evidence, both)}; the last attempt{which} failed, but used up no retry: {_error(oldest)}"
    meaning = f"the oldest failed one is {named(oldest.id, oldest.order_code)}; {_alive(evidence)}"
    if brokers is None or brokers.not_asked:
        return Cause(CauseKind.FAILING, total(both), fact, meaning, CHECK_BROKERS, LOOK_AT_KAFKA_AND_BACKLOG)
    advice = "this machine reaches the brokers; read the publisher's log, and look at the event"
    return Cause(CauseKind.FAILING, total(both), fact, meaning, advice, show(oldest.id))


def _alive(evidence: Evidence) -> str:
    """Return a phrase that says what is known about the last publisher."""
    if not evidence.lately:
        return "it is unknown whether a publisher is running"
    last = (evidence.running or evidence.lately)[0]
    sent = "the event" if evidence.pending == 1 else "the events"
    return f"{last} without sending {sent}" if last.ended else str(last)


def _newer_than_the_last_run(evidence: Evidence, ready: Sequence[Waiting]) -> bool:
    """Return whether all the events were created or requeued after the last publisher ended."""
    ended = min(one.seconds for one in evidence.lately)
    return all((one.oldest_s if one.requeued_s is None else one.requeued_s) < ended for one in ready)


def _has_paused(evidence: Evidence) -> bool:
    """Return whether no publisher is working now, and none has sent an event for ten seconds."""
    sent = evidence.last_sent_s
    working = any(one.working for one in evidence.publishers)
    return not working and sent is not None and sent >= WAITS_AFTER.total_seconds()


def unexplained(evidence: Evidence, ready: Sequence[Waiting], brokers: Brokers | None) -> Cause:
    """Return the cause for overdue events that no other cause explains: a long backlog, or an unknown reason."""
    events = total(ready)
    oldest = max(ready, key=lambda one: one.oldest_s)
    newest_sent = evidence.newest_sent_s
    overtaken = newest_sent is not None and newest_sent < oldest.oldest_s - OVERDUE_AFTER.total_seconds()
    between_runs = evidence.slot_active is None and bool(evidence.lately) and not evidence.running
    sends = not overtaken and (bool(evidence.sent_lately) or any(one.working for one in evidence.publishers))
    if between_runs and (sends or _newer_than_the_last_run(evidence, ready)):
        fact = f"no publisher is running: {evidence.lately[0]}"
        meaning = f"{waited(evidence, ready)}. {next_run(ready, NEXT_SCHEDULED_RUN)}"
        return Cause(CauseKind.BETWEEN_RUNS, events, fact, meaning, WAIT_OR_PUBLISH, PUBLISH)
    if evidence.slot_active is None and evidence.running and all(one.awaits_rescan for one in ready):
        return Cause(CauseKind.RESCAN, events, waited(evidence, ready), RESCANS, None, _WATCH)
    if evidence.slot_active is None and evidence.running and sends and not _has_paused(evidence):
        fact = f"{waited(evidence, ready)}; a publisher is working through them"
        meaning = "events are sent in order of creation; check that the backlog is shrinking"
        return Cause(CauseKind.BACKLOG, events, fact, meaning, None, _WATCH)
    if brokers is None:
        fact = f"{waited(evidence, ready)}, and the database does not show why"
        meaning = f"{_alive(evidence)}, and no row lock or dead event is in the way"
        return Cause(CauseKind.UNKNOWN, events, fact, meaning, "ask the brokers too", Command(("doctor",)))
    fact = f"{waited(evidence, ready)}, and no known cause was found"
    topics = f"the brokers were not asked: {brokers.not_asked}" if brokers.not_asked else "its topics accept messages"
    meaning = f"{_alive(evidence)}, {topics}, and no row lock or dead event is in the way"
    if between_runs and not brokers.not_asked:
        return Cause(CauseKind.UNKNOWN, events, fact, meaning, "publish by hand; the first line says why", PUBLISH)
    command = show(oldest.id)
    return Cause(CauseKind.UNKNOWN, events, fact, meaning, "read the publisher's log; the oldest event is", command)
