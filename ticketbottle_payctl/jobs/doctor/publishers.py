"""Check that a publisher is running. An idle publisher counts as running if it was seen recently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ticketbottle_payctl.domain.causes import (
    NEXT_RUN,
    OVERDUE_AFTER,
    SEEN_WITHIN,
    WAITS_AFTER,
    Activity,
    Command,
    Publishing,
    SeenPublisher,
    publishing,
    publishing_of,
    without_ended_outages,
)
from ticketbottle_payctl.domain.causes.advice import if_cut_off, if_missing
from ticketbottle_payctl.domain.causes.late_failures import instead_of_publishing, publishes
from ticketbottle_payctl.domain.causes.words import PUBLISH, WAIT_OR_PUBLISH
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.jobs.doctor.kafka import Probe
from ticketbottle_payctl.jobs.doctor.model import Finding, Status, Subject, ok, warn
from ticketbottle_payctl.jobs.doctor.why_events_wait import read_evidence
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.inspect import publishers
from ticketbottle_payctl.store.inspect.publishers import Publisher, Wait
from ticketbottle_payctl.store.outbox import cdc, stats
from ticketbottle_payctl.store.outbox.orders_at_risk import known_late_failures

_LIMITS = Limits()
_GONE_AFTER = 600.0
"""The check warns if no publisher was seen for this many seconds.

The limit allows for pauses between scheduled runs.
"""

_IF_SILENT = "if it has ended, start it again; otherwise read its log"


def check(subject: Subject, probe: Probe) -> list[Finding]:
    """List the running publishers, and check that they use the same number of shards as this machine.

    Probe the brokers only if the advice depends on them. If a pending failure event would take the tickets of a paid
    order, do not advise to publish.
    """
    found = _findings(subject, probe)
    if not any(each.command is not None and publishes(each.command) for each in found):
        return found
    late = known_late_failures(subject.engine(), subject.max_retries)  # the backlog check reports an error
    pairs = [(each, instead_of_publishing(each.remedy, each.command, late)) for each in found]
    return [replace(each, remedy=new.advice, command=new.command) if new else each for each, new in pairs]


def _findings(subject: Subject, probe: Probe) -> list[Finding]:
    with transaction(subject.engine(), _LIMITS, commit=False) as connection:
        working = publishers.working(connection)
        slot = None if working else cdc.slot(connection)
        seen, known = publishers.seen(connection)
        running = sum(one.working or (not one.ended and one.seconds < SEEN_WITHIN.total_seconds()) for one in seen)
        standby = publishers.on_standby(connection, running)
        wait = None if working else publishers.longest_wait(connection, subject.max_retries)
        if any(one.without_brokers for one in seen):
            sent = stats.recent(connection, OVERDUE_AFTER.total_seconds())
            seen = without_ended_outages(seen, sent.last_sent_s)
    if slot is not None:
        reader = "active" if slot.active else "idle"
        return [ok("publishers", f"Debezium is publishing this outbox; its slot is {reader}")]
    state = publishing(seen, known=known)
    if state.activity is Activity.RUNNING and wait is not None and _waited_s(wait) > WAITS_AFTER.total_seconds():
        found = read_evidence(subject)  # a publisher that was killed counts as running for 90 seconds
        is_hidden = bool(found.table_locks) and not found.publishers  # a session has locked the outbox since
        state = state if is_hidden else publishing_of(found)
    if state.activity is Activity.SILENT and state.last is not None:
        fact = f"no publisher is active; {state.last}"
        differs = [each for each in _idle(seen, subject) if each.status is not Status.OK]
        return [_absent(fact, wait, probe, (_IF_SILENT, None)), *differs]
    if working or state.activity is Activity.RUNNING:
        return [*_working(working, subject), *_idle(seen, subject), *_on_standby(standby)]
    return [_not_running(state, wait, probe)]


def _working(working: Sequence[Publisher], subject: Subject) -> Iterator[Finding]:
    """Yield a finding for each shard that a publisher holds now."""
    for one in working:
        name = f"pid {one.pid}, {one.application or 'unnamed'}"
        yield _running(f"shard {one.shard} of {one.shards}: {name}", one.shards, subject)


def _idle(seen: Sequence[SeenPublisher], subject: Subject) -> Iterator[Finding]:
    """Yield a finding for each publisher that is running but does not hold a shard now."""
    healthy = [one for one in seen if not one.ended and not one.without_brokers]
    noted = next((one.shards for one in healthy if one.shards is not None), None)
    for one in healthy:
        if not one.working and one.seconds < SEEN_WITHIN.total_seconds():
            shards = noted if one.shards is None else one.shards
            told = f" with PAYCTL_SHARDS={shards}" if shards is not None else ""
            yield _running(
                f"one publisher is idle{told}: {one.name}, last seen {duration(one.seconds)} ago", shards, subject
            )


def _on_standby(number: int) -> Iterator[Finding]:
    """Yield a finding if more publishers are running. Only their database sessions show this."""
    if number:
        are = "publisher is" if number == 1 else "publishers are"
        yield ok("publishers", f"at least {number:,} more {are} on standby, judged by the database sessions")


def _running(fact: str, shards: int | None, subject: Subject) -> Finding:
    """Return the finding about a running publisher. Warn if its shard count differs from this machine's."""
    if shards is None or shards == subject.shards:
        return ok("publishers", fact)
    meaning = f"PAYCTL_SHARDS is {subject.shards} here: a publisher that starts here would wait for that publisher"
    return warn("publishers", fact, meaning, f"give every publisher PAYCTL_SHARDS={shards}")


def _not_running(state: Publishing, wait: Wait | None, probe: Probe) -> Finding:
    """Return the finding if no publisher is running. ``wait`` is the longest wait of an event."""
    last = state.last
    if last is None:
        known = state.activity is Activity.NEVER_SEEN
        unseen = (
            "no publisher has run yet" if known else "no publisher is active; the role cannot see when the last one ran"
        )
        return _absent(unseen, wait, probe)
    ago = duration(last.seconds)
    if state.activity is Activity.WITHOUT_BROKERS:
        meaning = f"{last.without_brokers}. Events wait until a publisher reaches its brokers, and use up no retries"
        return warn("publishers", f"publisher {last}", meaning, *if_cut_off(last, probe.brokers()))
    if state.activity is Activity.BETWEEN_RUNS:
        fact = f"no publisher is running now; {last}; {NEXT_RUN}"
        return _absent(fact, wait, probe, (WAIT_OR_PUBLISH, PUBLISH))
    if last.seconds < _GONE_AFTER:
        return _absent(f"no publisher is running now; {last}", wait, probe)
    fact = f"no publisher has been seen for {ago}; the last one was {last.name}"
    meaning = "new events wait until a publisher runs"
    return warn("publishers", fact, meaning, *if_missing(probe.brokers()))


def _absent(fact: str, wait: Wait | None, probe: Probe, remedy: tuple[str, Command | None] | None = None) -> Finding:
    """Return the finding that no publisher is running. Warn only if an event is overdue since its last replay."""
    if wait is None or _waited_s(wait) <= OVERDUE_AFTER.total_seconds():
        return ok("publishers", fact)
    words, command = remedy or if_missing(probe.brokers())
    return warn("publishers", fact, f"an event {_waited(wait)}", words, command)


def _waited_s(wait: Wait) -> float:
    return wait.age_s if wait.requeued_s is None else wait.requeued_s


def _waited(wait: Wait) -> str:
    """Return how long the event has waited. A requeued event is counted from its replay, as in the causes."""
    if wait.requeued_s is None:
        return f"has waited for {duration(wait.age_s)}"
    return f"written {duration(wait.age_s)} ago has waited for {duration(wait.requeued_s)} since its replay"
