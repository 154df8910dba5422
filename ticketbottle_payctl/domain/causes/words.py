"""Select and describe overdue events. The modules for all causes use these functions."""

from __future__ import annotations

from collections.abc import Sequence

from ticketbottle_payctl.domain.causes.cause import Command
from ticketbottle_payctl.domain.causes.evidence import OVERDUE_AFTER, Evidence, Reason, Waiting
from ticketbottle_payctl.domain.unknown_types import is_unknown, what_to_do
from ticketbottle_payctl.formats import count, duration, short_id


def overdue(evidence: Evidence, *reasons: Reason) -> list[Waiting]:
    """Return the groups of overdue events that are held up for one of these reasons."""
    late = OVERDUE_AFTER.total_seconds()
    return [one for one in evidence.waiting if one.reason in reasons and one.oldest_s > late]


def total(waiting: Sequence[Waiting]) -> int:
    """Return the total number of events in these groups."""
    return sum(one.events for one in waiting)


def locked(events: int) -> str:
    """Return a phrase that says how many events are locked."""
    return f"{count(events, 'event')} {'is' if events == 1 else 'are'} locked"


def waited(evidence: Evidence, waiting: Sequence[Waiting]) -> str:
    """Describe the number of waiting events and their age in words. Add "at least" if only a sample was read.

    If the oldest event was replayed, count from the replay, because the event might not have been waiting before.
    """
    events, oldest = total(waiting), max(waiting, key=lambda one: one.oldest_s)
    least = "at least " if evidence.sampled else ""
    number, written = f"{least}{count(events, 'event')}", duration(oldest.oldest_s)
    requeued = None if oldest.requeued_s is None else duration(oldest.requeued_s)
    if events == 1:
        return (
            f"{number}, written {written} ago, has waited for {requeued} since its replay"
            if requeued
            else (f"{number} has waited for {written}")
        )
    if requeued:
        return f"{number} are waiting (the oldest, written {written} ago, has waited for {requeued} since its replay)"
    return f"{number} have waited for up to {written}"


def next_run(waiting: Sequence[Waiting], when: str) -> str:
    """Say what the next run does with the waiting events. ``when`` says which publisher runs next.

    A publisher cannot send an event of an unknown type, so such events are counted separately.
    """
    unknown = [one for one in waiting if is_unknown(one.event_type)]
    number = total(unknown)
    if not unknown:
        return f"Nothing is lost: {when}"
    if number == total(waiting):
        return f"No publisher can send {'it' if number == 1 else 'them'}: payctl does not know the type"
    one_of = f"{number:,} of them {'is' if number == 1 else 'are'} of an unknown type"
    return f"Nothing is lost: {when}, but {one_of}: {what_to_do(one.event_type for one in unknown)}"


def replay_options(error_group: str, *, dead: bool) -> tuple[str, ...]:
    """Return the options that make ``payctl replay`` select an error group; with ``dead``, only its dead events."""
    return (*(["--failed"] if dead else []), "--error-group", error_group)


def named(event_id: str, order_code: str | None) -> str:
    """Return an event's order code and short id, or its full id if the order code is not known."""
    return f"{order_code} ({short_id(event_id)})" if order_code else event_id


def show(name: str) -> Command:
    """Return the command that shows an event and its payment."""
    return Command(("show",), (name,))


PUBLISH = Command(("publish-outbox",), changes=True)
"""The command with which the operator can publish the pending events."""

PREVIEW = Command(("publish-outbox",), options=("-n",))
"""The command to advise instead of :data:`PUBLISH` if a pending failure event would take a paid order's tickets."""

START_AND_PUBLISH = "start the publisher again; until then, publish by hand"
"""The advice to give before :data:`PUBLISH` if the brokers are available."""


def start_or_publish() -> str:
    """Return the advice to give before :data:`PUBLISH` if the brokers were not checked.

    Perhaps no publisher is running because the brokers are unavailable.
    """
    return f"{START_AND_PUBLISH} (if that exits with 4, run payctl doctor)"


WAIT_OR_PUBLISH = "wait for the next scheduled run; if none is scheduled, publish by hand"
"""The advice to give before :data:`PUBLISH` if the last publisher has just ended."""


CHECK_BROKERS = "check that the brokers run and can be reached"
"""The advice if a publisher could not reach its brokers."""

LOOK_AT_KAFKA = Command(("doctor",), options=("--only", "kafka"))
"""The command that checks the brokers."""

LOOK_AT_KAFKA_AND_BACKLOG = Command(("doctor",), options=("--only", "kafka", "--only", "backlog"))
"""The command that checks the brokers from this machine, and says what to do if only the publisher cannot reach them.
"""
