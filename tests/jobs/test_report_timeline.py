"""Test the parts, the pause and the timeline of ``jobs/report`` with made-up counts, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from ticketbottle_payctl.domain.causes import LateFailures
from ticketbottle_payctl.jobs.report.model import Gap, GapReason, MomentKind, Pause, Report, Section, Waiting
from ticketbottle_payctl.jobs.report.timeline import parts_of, pause_of, points_of, timeline_of
from ticketbottle_payctl.store.outbox.flow_in_window import Flow, Newcomers, Parts, SentPart, Slowest
from ticketbottle_payctl.store.outbox.republished import LongestWait
from ticketbottle_payctl.store.payctl.received_in_window import Received, RefusedCallback
from ticketbottle_payctl.store.payctl.runs import Actor, Run
from ticketbottle_payctl.store.payments.created_in_window import CreatedPayments
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, OpenOrders, WithoutTicket
from ticketbottle_payctl.store.payments.sent_failures import FAILED_BEFORE_SUCCESS, RELEASED_AFTER_SUCCESS

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
PARTS = Parts(START, START + 60 * SECOND, 10)
FLOW = Flow({}, {}, {}, {}, 0, None, None, None, None, None)
RUN = Run("r", "replay", "done", Actor("linh", "bastion"), "payctl", "why", None, {}, {}, {}, START, START, ())
NOTHING = Waiting(0, 0, None, None, None)


def at(seconds):
    """Return the time that is this many seconds after the window's start."""
    return START + seconds * SECOND


def sent(number, first, last):
    """Return the record of the events that were sent in one part of the window, between two given seconds."""
    return SentPart(number, 1.0, 2.0, 3.0, at(first), at(last))


@pytest.mark.parametrize(
    ("window_s", "step_s"),
    [
        (1, 1), (96, 1), (96.5, 5), (480, 5), (481, 15), (1440, 15), (2880, 30), (5760, 60), (11_520, 120),
        (28_800, 300), (57_600, 600), (86_400, 900), (172_800, 1800), (345_600, 3600), (691_200, 7200),
        (1_036_800, 10_800), (2_073_600, 21_600), (4_147_200, 43_200), (8_294_400, 86_400), (8_294_401, 172_800),
        (16_588_801, 259_200),
    ],
)  # fmt: skip
def test_a_window_has_at_most_96_parts_of_a_round_length(window_s, step_s):
    """A window is divided into at most 96 parts. All parts have the shortest round length that allows this."""
    assert parts_of(START, START + timedelta(seconds=window_s)).step_s == step_s


def test_the_backlog_of_each_part_follows_from_the_events_that_came_and_went():
    """The backlog at the end of a part is the backlog at its start, plus the added events, minus the sent events."""
    flow = FLOW._replace(
        waiting=2, created={0: 5, 2: 1}, joined={0: 4, 2: 1}, sent={1: sent(9, 10, 19), 2: sent(0, 20, 29)}
    )
    points = points_of(flow, PARTS)
    assert [(point.created, point.sent, point.waiting) for point in points] == [
        (5, 0, 6), (0, 9, 0), (1, 0, 1), (0, 0, 1), (0, 0, 1), (0, 0, 1),
    ]  # fmt: skip
    assert [point.at for point in points] == [at(10 * number) for number in range(6)]
    assert [(point.lag_p50, point.lag_p95, point.longest) for point in points[:2]] == [(None,) * 3, (1.0, 2.0, 3.0)]


def pause(flow):
    """Return the longest pause: its start and end, in seconds after the window's start, and its backlog."""
    found = pause_of(flow, points_of(flow, PARTS), PARTS)
    return found and ((found.since - START).seconds, (found.until - START).seconds, found.waiting)


def test_a_pause_lasts_from_the_last_event_sent_to_the_next_one():
    """A pause lasts from the last event sent before it to the first event sent after it."""
    flow = FLOW._replace(joined={0: 9}, sent={0: sent(1, 1, 4), 3: sent(2, 33, 39)})
    assert pause(flow) == (4, 33, 8)
    assert pause(flow._replace(sent={0: sent(1, 1, 4), 1: sent(1, 12, 14), 2: sent(1, 22, 23)})) == (23, 60, 6)


def test_a_pause_begins_when_the_first_waiting_event_was_created():
    """If nothing waited before, a pause begins when the first waiting event was created.

    If another event was already waiting, the pause begins when the last event was sent.
    """
    flow = FLOW._replace(joined={1: 3}, newcomers={1: Newcomers(3, at(17))}, sent={4: sent(3, 41, 49)})
    assert pause(flow) == (17, 41, 3)
    assert pause(flow._replace(joined={1: 3, 2: 2})) == (17, 41, 5)
    some_left = flow._replace(joined={1: 5}, sent={1: sent(1, 12, 14), 4: sent(3, 41, 49)})
    assert pause(some_left) == (14, 41, 4)


def test_a_pause_can_last_for_the_whole_window():
    """A pause is cut to the window if it began before the window's start or has not ended."""
    assert pause(FLOW._replace(waiting=1)) == (0, 60, 1)
    assert pause(FLOW) is None
    assert pause(FLOW._replace(joined={5: 1}, newcomers={5: Newcomers(1, at(55))})) is None


def test_the_first_of_two_equal_pauses_is_shown():
    """The report shows the longest pause. If two pauses are equally long, the report shows the first pause."""
    flow = FLOW._replace(
        joined={0: 9}, sent={0: sent(1, 0, 0), 2: sent(1, 20, 20), 4: sent(1, 40, 40), 5: sent(1, 50, 50)}
    )
    assert pause(flow) == (0, 20, 8)
    later = flow._replace(sent={**flow.sent, 4: sent(1, 41, 42)})
    assert pause(later) == (20, 41, 7)


def timeline(**facts):
    """Return the kind, the time and the facts of each entry in a timeline."""
    known = {
        "flow": None,
        "points": (),
        "pause": None,
        "callbacks": None,
        "waiting": NOTHING,
        "dead_groups": (),
        "runs": (),
    }
    found = timeline_of(PARTS, at(50), **{**known, **facts})
    return [
        (moment.kind, (moment.at - START).total_seconds(), moment.id, moment.what, moment.number) for moment in found
    ]


def test_a_timeline_has_the_start_and_the_end_of_each_run():
    """The timeline has an entry for the start of each run and, if the run has finished, an entry for its end."""
    done = replace(RUN, started_at=at(3), finished_at=at(9))
    running = replace(RUN, id="s", started_at=at(5), finished_at=None)
    assert timeline(runs=[done, running]) == [
        (MomentKind.RUN_STARTED, 3, "r", "replay", None),
        (MomentKind.RUN_STARTED, 5, "s", "replay", None),
        (MomentKind.RUN_ENDED, 9, "r", "replay: done", None),
    ]


def test_a_timeline_names_a_single_refused_callback_once():
    """The timeline has one entry for the first and one for the last refused callback.

    If only one callback was refused, there is only one entry.
    """
    first, last = (RefusedCallback(name, at(second), "momo", "wrong_amount") for name, second in (("c", 1), ("d", 2)))
    only = Received({}, {}, first, first)
    assert [moment[:3] for moment in timeline(callbacks=only)] == [(MomentKind.FIRST_REFUSED, 1, "c")]
    assert [moment[:4] for moment in timeline(callbacks=only._replace(last_refused=last))] == [
        (MomentKind.FIRST_REFUSED, 1, "c", "wrong_amount"), (MomentKind.LAST_REFUSED, 2, "d", "wrong_amount"),
    ]  # fmt: skip
    assert timeline(callbacks=Received({}, {}, None, None)) == []


@pytest.mark.parametrize(("lag_s", "shown"), [(0.999, False), (1.0, True)])
def test_a_timeline_names_a_lag_of_a_second_or_more(lag_s, shown):
    """The timeline has an entry for the event with the longest lag, if the lag was at least a second."""
    flow = FLOW._replace(slowest=Slowest("e", "PAYMENT_FAILED", at(1), at(2), lag_s))
    found = timeline(flow=flow, points=points_of(flow, PARTS))
    assert found == ([(MomentKind.LONGEST_LAG, 2, "e", "PAYMENT_FAILED", lag_s)] if shown else [])


def test_a_timeline_has_the_largest_backlog_at_the_end_of_its_part():
    """The timeline shows the largest backlog at the end of the part in which the backlog was largest.

    If two backlogs are equally large, the timeline shows the first.
    """
    flow = FLOW._replace(joined={1: 3}, sent={3: sent(3, 31, 31)})
    assert timeline(flow=flow, points=points_of(flow, PARTS)) == [(MomentKind.MOST_WAITING, 20, None, None, 3)]
    found = timeline(flow=flow, points=points_of(flow, PARTS), pause=Pause(at(5), at(9), 3))
    assert found[0] == (MomentKind.PAUSE, 5, None, None, 3)


def test_a_timeline_has_the_oldest_pending_event_and_the_first_dead_one():
    """The timeline shows the oldest pending event and each error group's first dead event at their creation times."""
    group = SimpleNamespace(first=at(7), pattern="MSG_SIZE_TOO_LARGE", dead=4, closed=0)
    waiting = NOTHING._replace(longest=LongestWait("e", 40.0, requeued=False))
    assert timeline(dead_groups=[group], waiting=waiting) == [
        (MomentKind.FIRST_DEAD, 7, None, "MSG_SIZE_TOO_LARGE", 4), (MomentKind.OLDEST_PENDING, 10, "e", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(("second", "shown"), [(-0.001, False), (0, True), (60, True), (60.001, False)])
def test_a_timeline_has_only_moments_of_its_window(second, shown):
    """The timeline leaves out entries from before the window's start or after its end."""
    assert bool(timeline(runs=[replace(RUN, started_at=at(second), finished_at=None)])) is shown


QUIET = Report(
    at=START,
    parts=PARTS,
    waiting=NOTHING,
    flow=None,
    points=(),
    pause=None,
    callbacks=None,
    payments=None,
    unpublished=None,
    no_event=None,
    refused=None,
    money=None,
    dead_groups=(),
    closed=0,
    runs=(),
    timeline=(),
    gaps=(),
)
ONE = OpenOrders(1, 9, ())
GROUP = SimpleNamespace(superseded=2, blocking=0, closed=0, dead=2)


@pytest.mark.parametrize(
    ("facts", "quiet"),
    [
        ({}, True),
        ({"waiting": NOTHING._replace(pending=1)}, False),
        ({"waiting": NOTHING._replace(dead=1)}, False),
        ({"waiting": NOTHING._replace(dead=1), "closed": 1}, True),
        ({"waiting": NOTHING._replace(dead=2), "closed": 1}, False),
        ({"unpublished": ONE}, False),
        ({"no_event": ONE}, False),
        ({"refused": ONE}, False),
        ({"money": ONE}, False),
        ({"money": OpenOrders(0, 0, (), more=True)}, False),
        ({"money": OpenOrders(0, 0, ())}, True),
        ({"payments": CreatedPayments({}, 1, 0)}, True),
        ({"payments": CreatedPayments({}, 1, 1)}, False),
        ({"gaps": (Gap(Section.RUNS, GapReason.TIMED_OUT),)}, False),
        ({"gaps": (Gap(Section.RUNS, GapReason.TOO_MANY_RUNS),)}, True),
    ],
)
def test_a_report_is_quiet_if_nothing_waits_and_nothing_is_missing(facts, quiet):
    """A report is quiet if every order has its ticket, nothing waits for a person, and no section is missing."""
    assert replace(QUIET, **facts).is_quiet is quiet


def test_a_report_adds_up_the_orders_without_a_ticket():
    """The report adds up the orders without a ticket from three sections. A missing section counts as zero."""
    report = replace(QUIET, unpublished=OpenOrders(2, 5, ("a",)), no_event=OpenOrders(3, 7, ("b",)))
    assert (report.without_ticket, report.amount, report.open_orders) == (5, 12, ("a", "b"))
    assert (QUIET.without_ticket, QUIET.amount, QUIET.for_a_person, QUIET.overdue) == (0, 0, 0, 0)
    with_money = replace(report, refused=OpenOrders(1, 1, ()), money=OpenOrders(8, 8, ()))
    assert (with_money.without_ticket, with_money.for_a_person) == (6, 8)


@pytest.mark.parametrize(
    ("pending", "dead", "closed", "age_s", "at_risk", "expected"),
    [
        (0, 1, 0, None, 1, False),
        (1, 0, 0, 10.0, None, False),
        (1, 0, 0, 10.0, 0, False),
        (1, 0, 0, 10.0, 1, True),
        (1, 0, 0, 10.1, 0, True),
        (1, 1, 0, None, 0, True),
        (1, 1, 1, 10.0, 0, False),
        (1, 2, 1, 10.0, 0, True),
    ],
)
def test_waiting_events_have_a_next_step_if_one_is_late_or_harmful_or_a_dead_one_is_open(
    pending, dead, closed, age_s, at_risk, expected
):
    """The report names `payctl stats` if a pending event is over ten seconds old, or a dead event is not closed.

    The report also names `payctl stats` if a pending failure event would take the tickets of a paid order. If no event
    is pending, the report never names `payctl stats`.
    """
    late = None if at_risk is None else LateFailures(at_risk)
    report = replace(QUIET, waiting=Waiting(pending, dead, age_s, None, None), closed=closed, late_failures=late)
    assert (report.has_waiting_events, report.tickets_at_risk) == (expected, at_risk or 0)


@pytest.mark.parametrize(
    ("why", "released"),
    [
        ((), False),
        (("amount",), False),
        (("amount", RELEASED_AFTER_SUCCESS), True),
        (("amount", FAILED_BEFORE_SUCCESS), True),
    ],
)
def test_a_report_says_if_an_order_may_have_lost_its_tickets(why, released):
    """The report looks for lost tickets in the orders that need manual review.

    If this section is missing, it finds none.
    """
    orders = tuple(OpenOrder(WithoutTicket.REFUSED, "e", "TB-1", 9, START, each) for each in why)
    assert replace(QUIET, money=OpenOrders(len(orders), 9, orders)).has_released_tickets is released
    assert QUIET.has_released_tickets is False


@pytest.mark.parametrize(
    ("repeated", "harmless", "expected"), [(None, 0, (False, False)), (0, 1, (False, True)), (1, 0, (True, False))]
)
def test_a_report_says_if_a_dead_event_is_a_repeat_or_does_harm(repeated, harmless, expected):
    """The report knows whether a dead event repeats a sent success, and whether all dead events are harmless.

    If the section about dead events is missing, the report assumes neither.
    """
    groups = None if repeated is None else (SimpleNamespace(repeated=repeated, harmless=harmless),)
    report = replace(QUIET, waiting=NOTHING._replace(dead=1), dead_groups=groups)
    assert (report.some_repeat, report.dead_do_no_harm) == expected


def test_a_report_counts_the_overdue_payments_by_what_a_person_can_do():
    """The report counts overdue payments: the open ones, those too old for a status query, and the closed ones.

    If the section about payments is missing, each count is zero.
    """
    report = replace(QUIET, payments=CreatedPayments({}, 9, 4, 3, 2))
    for one, expected in ((report, (4, 3, 2)), (QUIET, (0, 0, 0))):
        assert (one.overdue, one.overdue_in_portal, one.closed_payments) == expected


@pytest.mark.parametrize(
    ("dead", "facts", "harmless", "still_open"),
    [
        (2, {}, True, 1),
        (3, {}, False, 1),
        (2, {"blocking": 1}, False, 1),
        (2, {"closed": 2}, True, 0),
        (2, {"closed": 1}, True, 1),
        (2, {"closed": 2, "blocking": 1}, False, 1),
    ],
)
def test_dead_events_do_no_harm_if_all_are_superseded_and_block_nothing(dead, facts, harmless, still_open):
    """Dead events do no harm if all are superseded and none blocks another event.

    The group of these events stays open until a person has closed all of them.
    """
    group = SimpleNamespace(**{**vars(GROUP), **facts})
    group.harmless = group.superseded - group.blocking
    report = replace(QUIET, waiting=NOTHING._replace(dead=dead), dead_groups=(group,))
    assert (report.dead_do_no_harm, len(report.open_dead_groups)) == (harmless, still_open)
    assert replace(QUIET, dead_groups=None).open_dead_groups == ()
