"""Test that payctl suggests the right commands for an order's findings. The tests need no database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.evidence import ENDED, GONE, IDLES, WORKS
from tests.jobs.order.rows import EVENT, FAILURE, MINUTE, PAID, RECEIPT, RUN, START, UNPAID, history
from ticketbottle_payctl.domain.causes import Cause, CauseKind, Command, publishing
from ticketbottle_payctl.jobs.order.advice import advise
from ticketbottle_payctl.jobs.order.model import Mark, Verdict, VerdictKind
from ticketbottle_payctl.store.payctl.runs import Closing

DEAD = replace(EVENT, state="dead", retry_count=5, last_error="INVALID_REQUEST: no")
TOO_LARGE = replace(DEAD, id="large", last_error="MSG_SIZE_TOO_LARGE: no")
SUPERSEDED = replace(DEAD, id="old", event_type="PAYMENT_FAILED", superseded=True)
SENT = replace(EVENT, state="published", published_at=START)
RELEASE, MARK, BACK = "payctl publish-outbox --on-dead release", "payctl cdc mark", "payctl cdc cut-back"
AGAIN, ASK = "payctl replay e --allow-published", "payctl reconcile payments TB-1"


def commands(found, *kinds, debezium=False, **facts):
    """Return the commands that payctl suggests for findings of these kinds.

    The findings are about the history's last event and a receipt.
    """
    event = found.events[-1] if found.events else None
    verdicts = [Verdict(kind, Mark.BAD, START, event=event, receipt=RECEIPT) for kind in kinds]
    verdicts[0] = replace(verdicts[0], **facts)
    return [each.command for each in advise(found, verdicts, START, debezium_publishes=debezium)]


BY_HAND = "send it by hand only if that publisher does not send it"
RESCAN = "a running publisher looks at old events every 30 s"
NEXT_RUN = "a scheduled one starts again within a minute; if none is scheduled, send it now"


@pytest.mark.parametrize(
    ("publishers", "replays", "why"),
    [
        ([IDLES], 0, f"publisher host:12 was seen 20 s ago; {BY_HAND}"),
        ([IDLES], 1, f"publisher host:12 was seen 20 s ago; {RESCAN}; {BY_HAND}"),
        ([WORKS], 0, f"publisher pid 7, payctl publish-outbox is working; {BY_HAND}"),
        ([ENDED], 0, f"the last publisher ended 20 s ago; {NEXT_RUN}"),
        ([GONE], 0, "no publisher is running; the last one was seen 12 min ago; send it now"),
        ([], 0, "no publisher is running; none has ever been seen; send it now"),
        (None, 0, "send it now, unless a publisher is running"),
    ],
)
def test_the_advice_for_a_new_event_names_the_publisher(publishers, replays, why):
    """For a new event, the advice names the running publisher, or says that no publisher is running."""
    state = None if publishers is None else publishing(publishers, known=True)
    verdict = Verdict(VerdictKind.WAITING, Mark.OPEN, START, event=EVENT, publishing=state, replays=replays)
    (advice,) = advise(history(PAID, EVENT), [verdict], START, debezium_publishes=False)
    assert (advice.command, advice.why) == ("payctl publish-outbox", why)


@pytest.mark.parametrize(
    ("events", "kind", "expected"),
    [
        ([DEAD], VerdictKind.DEAD, ["payctl replay e"]),
        ([TOO_LARGE], VerdictKind.DEAD, []),
        ([SUPERSEDED, DEAD], VerdictKind.DEAD, ["payctl replay e", RELEASE]),
        ([TOO_LARGE, DEAD], VerdictKind.DEAD, ["payctl replay e", RELEASE]),
        ([replace(DEAD, id="d"), DEAD], VerdictKind.DEAD, ["payctl replay d e"]),
        ([replace(DEAD, id="d"), EVENT], VerdictKind.BLOCKED, ["payctl replay d"]),
        ([SUPERSEDED, EVENT], VerdictKind.BLOCKED, [RELEASE]),
        ([EVENT], VerdictKind.WAITING, ["payctl publish-outbox"]),
        ([EVENT], VerdictKind.RETRYING, []),
        ([EVENT], VerdictKind.OVERDUE, ["payctl doctor"]),
        ([SENT], VerdictKind.NOT_IN_KAFKA, [AGAIN]),
        ([SENT], VerdictKind.PUBLISHED, [AGAIN]),
        ([replace(SENT, superseded=True)], VerdictKind.PUBLISHED, []),
    ],
)
def test_a_replay_is_advised_only_for_events_that_it_can_send(events, kind, expected):
    """A replay is suggested only for dead events that the replay can send.

    To send events behind other dead events, payctl suggests a release.
    """
    assert commands(history(PAID, *events), kind) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (VerdictKind.WAITING, [MARK]), (VerdictKind.RETRYING, [MARK]), (VerdictKind.BEHIND, [MARK]),
        (VerdictKind.OVERDUE, [MARK]), (VerdictKind.DEAD, [BACK]), (VerdictKind.BLOCKED, [BACK]),
        (VerdictKind.NOT_IN_KAFKA, [BACK]), (VerdictKind.PUBLISHED, []),
    ],
)  # fmt: skip
def test_no_publisher_and_no_replay_is_advised_while_debezium_publishes(kind, expected):
    """While Debezium publishes, payctl suggests `cdc mark` or, if an event must be sent again, `cdc cut-back`."""
    assert commands(history(PAID, EVENT), kind, debezium=True) == expected
    assert commands(history(UNPAID), VerdictKind.NO_CALLBACK, debezium=True) == [ASK]


@pytest.mark.parametrize(
    ("kind", "minutes", "expected"),
    [
        (VerdictKind.NOT_PAID, 6, []),
        (VerdictKind.NOT_PAID, 20, []),
        (VerdictKind.IN_PROGRESS, 20, []),
        (VerdictKind.IN_PROGRESS, 21, [ASK]),
        (VerdictKind.NO_CALLBACK, 21, [ASK]),
        (VerdictKind.UNREADABLE, 6, [ASK]),
    ],
)
def test_the_gateway_is_not_asked_while_the_customer_may_still_be_paying(kind, minutes, expected):
    """For a payment without a result, a status query is suggested only after the payment is overdue."""
    found, verdict = history(UNPAID), Verdict(kind, Mark.OPEN, START, receipt=RECEIPT)
    advice = advise(found, [verdict], START + minutes * MINUTE, debezium_publishes=False)
    assert [each.command for each in advice] == expected


def test_a_published_event_is_sent_again_only_if_nothing_else_is_open():
    """A replay of a published event is suggested only if that event has the most urgent open finding."""
    found = history(PAID, SENT)
    assert commands(found, VerdictKind.PUBLISHED, VerdictKind.LATE_MONEY) == [AGAIN]
    assert commands(found, VerdictKind.LATE_MONEY, VerdictKind.PUBLISHED) == []
    closing = Closing(START, RUN)
    assert commands(found, VerdictKind.LATE_MONEY, VerdictKind.PUBLISHED, closing=closing) == [AGAIN]
    assert commands(found, VerdictKind.NOT_IN_KAFKA, ticket_is_due=False) == []


def test_each_command_is_advised_once_and_the_most_urgent_first():
    """If two findings lead to the same command, payctl suggests it once, in the position of the more urgent finding."""
    found = history(UNPAID)
    kinds = (VerdictKind.UNREADABLE, VerdictKind.NOT_APPLIED, VerdictKind.AMBIGUOUS)
    assert commands(found, *kinds) == [ASK, "payctl process-webhook --receipt c"]
    assert commands(replace(found, payment=None), VerdictKind.UNREADABLE) == []
    assert commands(found, VerdictKind.NOT_APPLIED, receipt=None) == []


def test_the_cause_of_an_overdue_event_says_what_to_do():
    """For an overdue event, payctl shows the cause's advice, or the cause's meaning if there is no advice.

    If the cause has no command, payctl does not suggest one.
    """
    publish = Command(("publish-outbox",), changes=True)
    cause = Cause(CauseKind.NO_PUBLISHER, 1, "fact", "meaning", "start it", publish)
    found = history(PAID, EVENT)
    for debezium in (False, True):
        for told, why in ((cause, "start it"), (cause._replace(advice=None), "meaning")):
            overdue = Verdict(VerdictKind.OVERDUE, Mark.BAD, START, event=EVENT, cause=told)
            (advice,) = advise(found, [overdue], START, debezium_publishes=debezium)
            assert (advice.command, advice.why, advice.changes) == ("payctl publish-outbox", why, True)
    assert commands(found, VerdictKind.OVERDUE, cause=cause._replace(command=None)) == []


@pytest.mark.parametrize(("dead", "why"), [(SUPERSEDED, "lose their tickets"), (TOO_LARGE, "would fail again")])
def test_the_advice_says_why_a_dead_event_is_not_replayed(dead, why):
    """The advice says that replaying the event would take away tickets, or that the event would fail again."""
    found = history(PAID, dead, EVENT)
    blocked = Verdict(VerdictKind.BLOCKED, Mark.BAD, START, event=EVENT)
    (advice,) = advise(found, [blocked], START, debezium_publishes=False)
    assert (advice.command, why in advice.why) == (RELEASE, True)


def test_the_advice_names_the_dead_events_that_are_skipped():
    """If a dead event must not be replayed, the advice to skip it names its type and its short id."""
    old = replace(SUPERSEDED, id="47d3b4b7-91a2", event_type="PAYMENT_CANCELLED")
    verdict = Verdict(VerdictKind.DEAD, Mark.BAD, START, event=DEAD)
    for passed, named in (
        ([old], "PAYMENT_CANCELLED 47d3b4b7"),
        ([old, SUPERSEDED], "PAYMENT_CANCELLED 47d3b4b7 and the dead PAYMENT_FAILED old"),
    ):
        replay, release = advise(history(PAID, *passed, DEAD), [verdict], START, debezium_publishes=False)
        assert (replay.command, release.command) == ("payctl replay e", RELEASE)
        assert release.why.startswith(f"skip the dead {named}; never replay it: ")


def test_only_commands_that_change_something_need_confirmation():
    """A suggested `payctl replay` counts as a change and needs confirmation.

    `payctl doctor` does not, because it only reads.
    """
    overdue = Verdict(VerdictKind.OVERDUE, Mark.BAD, START, event=EVENT)
    dead = replace(overdue, kind=VerdictKind.DEAD, event=FAILURE)
    found = history(PAID, replace(FAILURE, state="dead"), EVENT)
    dead = replace(dead, event=found.events[0])
    advice = advise(found, [overdue, dead], START, debezium_publishes=False)
    assert [(each.verb, each.changes) for each in advice] == [(("doctor",), False), (("replay",), True)]
