"""Check whether a payment's event was published, and what consumers have read.

If the event was not published, find out why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ticketbottle_payctl.broker.delivery_remedy import DeliveryRemedy, error_name, remedy_of
from ticketbottle_payctl.broker.faults import is_permanent
from ticketbottle_payctl.domain.causes import OVERDUE_AFTER, late_failure
from ticketbottle_payctl.domain.event import RELEASING, TOPICS
from ticketbottle_payctl.domain.retry import backoff
from ticketbottle_payctl.domain.unknown_types import is_unknown
from ticketbottle_payctl.jobs.order.model import Mark, Remedy, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.records import Records
from ticketbottle_payctl.store.payctl.runs import Closing
from ticketbottle_payctl.store.payments.history import EventRow, History, PaymentRow, Replayed

_LONG = timedelta(minutes=5)
_REPLAY, _CLOSE = "replay", "close"


def judge_delivery(found: History, records: Records, now: datetime, retention: timedelta | None) -> Iterator[Verdict]:
    """Return the verdict on the event that reports the payment's status.

    Also return verdicts on pending superseded events and on unsent events of unknown types.

    If no payment exists, the last event of a known type counts as the event that reports the status.
    """
    payment, unknown = found.payment, _unknown(found)
    event = _deciding(found.events, payment)
    only = False
    if event is not None:
        yield _of_event(event, found, records, now)
    elif not unknown:
        yield _without_event(found, now, retention)
    elif payment is not None and payment.status != "PENDING":
        missing = _without_event(found, now, retention)
        needless = payment.status == "COMPLETED" and all(each.id in found.closed_events for each in unknown)
        only = missing.kind is VerdictKind.NO_EVENT and not needless
        if not only:
            yield missing
    due = only and payment is not None and payment.status == "COMPLETED"
    for each in unknown:
        closing = _closing_of(each, found)
        yield Verdict(
            VerdictKind.UNKNOWN_TYPE,
            Mark.GOOD if closing else Mark.BAD,
            each.created_at,
            due,
            event=each,
            remedy=None if closing else DeliveryRemedy.KNOW_EVENT_TYPE,
            is_only_event=only,
            closing=closing,
        )
    yield from _late_failures(found.events)


def _late_failures(events: Sequence[EventRow]) -> Iterator[Verdict]:
    """Yield a verdict on each pending event that would release the tickets of a paid order.

    If a success event waits behind the pending event, the order keeps its tickets.
    """
    for number, event in enumerate(events):
        behind = (each for each in events[number + 1 :] if each.event_type == "PAYMENT_COMPLETED")
        if _releases(event) and event.state == "pending" and all(each.state == "published" for each in behind):
            yield Verdict(
                VerdictKind.LATE_FAILURE, Mark.BAD, event.created_at, event=event, cause=late_failure(event.id)
            )


def _of_event(event: EventRow, found: History, records: Records, now: datetime) -> Verdict:
    due = event.event_type == "PAYMENT_COMPLETED"
    match event.state:
        case "published":
            return _sent_failure(event, found, due=due) or _published(event, records, due=due)
        case "dead" if event.repeats:
            return _closed_repeat(event, found, due=due)
        case "dead":
            return _dead(event, found, due=due)
        case _:
            sent = (each.published_before for each in _replays(event, found) if each.published_before)
            return replace(_pending(event, found, now, due=due), sent_before=max(sent, default=None))


def _closed_repeat(event: EventRow, found: History, *, due: bool) -> Verdict:
    """Return the verdict on a dead event that a person closed as repeated, before a cleanup deleted the sent event."""
    completed = found.payment and found.payment.completed_at
    return Verdict(VerdictKind.CLEANED_UP, Mark.GOOD, completed or event.created_at, due)


def dead_until(event: EventRow, events: Sequence[EventRow]) -> list[EventRow]:
    """Return the payment's dead events up to ``event``. They must be resolved before ``event`` can be sent."""
    return [each for each in events[: events.index(event) + 1] if each.state == "dead"]


def remedy_for(event: EventRow) -> DeliveryRemedy | None:
    """Return what the operator must fix before replaying a dead event, or None if a replay may help immediately."""
    return remedy_of(event.last_error, event.event_type, event.message_bytes)


def _deciding(events: Sequence[EventRow], payment: PaymentRow | None) -> EventRow | None:
    status = payment.status if payment and payment.status != "PENDING" else None
    known = [each for each in events if each.state == "published" or not is_unknown(each.event_type)]
    wanted = [each for each in known if status is None or each.event_type == f"PAYMENT_{status}"]
    published = next((each for each in wanted if each.state == "published"), None)
    waiting = [each for each in wanted if not each.repeats]
    return published or next(reversed(waiting or wanted), None)


def _unknown(found: History) -> list[EventRow]:
    """Return the first unsent event of each unknown type. Prefer an event that no person has closed."""
    first: dict[str, EventRow] = {}
    for each in sorted(found.unsent_unknown, key=lambda one: one.id in found.closed_events):
        first.setdefault(each.event_type, each)
    return [*first.values()]


def _closing_of(event: EventRow, found: History) -> Closing | None:
    """Return the run that closed the event, or None if the event does not count as closed."""
    runs = [each.run for each in found.replays if each.event_id == event.id and each.run.command == _CLOSE]
    last = max(runs, key=lambda run: run.started_at, default=None)
    return None if last is None or event.id not in found.closed_events else Closing(event.created_at, last)


def _without_event(found: History, now: datetime, retention: timedelta | None) -> Verdict:
    payment = found.payment
    if payment is None:
        message = "a history without a payment has events or receipts"
        raise ValueError(message)
    ends = {"COMPLETED": payment.completed_at, "FAILED": payment.failed_at, "CANCELLED": payment.cancelled_at}
    at = ends.get(payment.status) or payment.created_at
    written = any(each.event_id and each.outcome == payment.status for each in found.receipts)
    due = payment.status == "COMPLETED"
    if written:
        return Verdict(VerdictKind.CLEANED_UP, Mark.GOOD, at, due)
    if retention is not None and now - at > retention:
        return Verdict(VerdictKind.PAST_RETENTION, Mark.OPEN, at, due, remedy=Remedy.ASK_ORDER_SERVICE)
    return Verdict(VerdictKind.NO_EVENT, Mark.BAD if due else Mark.OPEN, at, due, remedy=Remedy.WRITE_EVENT)


def _sent_failure(success: EventRow, found: History, *, due: bool) -> Verdict | None:
    """Return a verdict if the order service got a failure of this paid order, or None.

    If the payment was completed late, the failure belongs before the success. The money has a finding of its own then.
    """
    at = success.published_at or success.created_at
    late = found.payment is not None and found.payment.was_completed_late
    sent = [each for each in found.events if _releases(each) and each.state == "published"]
    after = [each for each in sent if _was_sent_after(each, success, at, late=late)]
    if not after and (late or not sent):
        return None
    failure = (after or sent)[-1]
    return Verdict(
        VerdictKind.RELEASED_AFTER_SUCCESS if after else VerdictKind.FAILED_BEFORE_SUCCESS,
        Mark.BAD,
        max(at, failure.published_at or at),
        due,
        event=failure,
        remedy=Remedy.ASK_ORDER_SERVICE,
    )


def _published(event: EventRow, records: Records, *, due: bool) -> Verdict:
    at = event.published_at or event.created_at
    if event.id in records.missing:
        return Verdict(VerdictKind.NOT_IN_KAFKA, Mark.OPEN, at, due, event=event)  # Kafka may have deleted the record
    readers = records.readers.get(event.id)
    past, behind = (readers.past, readers.behind) if readers else (None, ())
    if past == () and due:
        return Verdict(
            VerdictKind.UNREAD, Mark.OPEN, at, due, event=event, readers=past, behind=behind, remedy=Remedy.WATCH_READER
        )
    kind = VerdictKind.PUBLISHED if due or event.event_type not in TOPICS else VerdictKind.ENDED
    return Verdict(kind, Mark.GOOD, at, due, event=event, readers=past, behind=behind)


def _releases(event: EventRow) -> bool:
    """Return whether the order service releases the tickets of a paid order when it reads this event."""
    return event.superseded and event.event_type == RELEASING


def _was_sent_after(failure: EventRow, success: EventRow, at: datetime, *, late: bool) -> bool:
    """Return whether the failure was sent after the success, which was published at this time.

    One claim marks both events in any order, but the publisher sends them in order.
    """
    if failure.version and failure.version == success.version:
        return not late and failure.created_at > success.created_at
    return bool(failure.published_at and failure.published_at > at)


def _dead(event: EventRow, found: History, *, due: bool) -> Verdict:
    return Verdict(
        VerdictKind.DEAD,
        Mark.BAD,
        event.created_at,
        due,
        event=event,
        tries=tries_of(event),
        replays=len(_replays(event, found)),
        remedy=remedy_for(event),
    )


def tries_of(event: EventRow) -> int:
    """Return the number of failed attempts to send an event. After a permanent fault, the number is always one."""
    return 1 if event.state == "dead" and is_permanent(error_name(event.last_error)) else event.retry_count


def dead_before(event: EventRow, events: Sequence[EventRow]) -> EventRow | None:
    """Return the payment's dead event that blocks a pending event, or None."""
    if event.state != "pending":
        return None
    return next((each for each in events[: events.index(event)] if each.state == "dead"), None)


def _pending(event: EventRow, found: History, now: datetime, *, due: bool) -> Verdict:
    earlier = found.events[: found.events.index(event)]
    dead = dead_before(event, found.events)
    if dead is not None:
        return Verdict(
            VerdictKind.BLOCKED, Mark.BAD, event.created_at, due, event=event, blocked_by=dead, tries=tries_of(dead)
        )
    failing = next((each for each in earlier if each.state == "pending" and each.retry_count), None)
    first = failing or event
    replays = _replays(event, found)
    since = max([event.created_at, *(each.run.started_at for each in replays)])
    if first.retry_count:
        next_try = first.created_at + backoff(first.retry_count)
        kind = VerdictKind.BEHIND if failing else VerdictKind.RETRYING
        stuck = now - max(next_try, since) > _LONG
        return Verdict(
            VerdictKind.OVERDUE if stuck else kind,
            Mark.BAD if stuck else Mark.OPEN,
            since,
            due,
            event=event,
            blocked_by=failing,
            tries=first.retry_count,
            due=next_try,
            replays=len(replays),
        )
    overdue = now - since > OVERDUE_AFTER
    kind = VerdictKind.OVERDUE if overdue else VerdictKind.WAITING
    return Verdict(kind, Mark.BAD if overdue else Mark.OPEN, since, due, event=event, replays=len(replays))


def _replays(event: EventRow, found: History) -> list[Replayed]:
    return [each for each in found.replays if each.event_id == event.id and each.run.command == _REPLAY]
