"""Test that the nouns and verbs in the report's sentences agree with their counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.cli.commands.report.sentence import (
    moment_sentence,
    overdue_sentence,
    too_old_sentence,
    verdict,
)
from ticketbottle_payctl.jobs.report.model import Gap, GapReason, Moment, MomentKind, Report, Section, Waiting
from ticketbottle_payctl.store.outbox.flow_in_window import Parts
from ticketbottle_payctl.store.outbox.republished import LongestWait
from ticketbottle_payctl.store.payments.created_in_window import CreatedPayments
from ticketbottle_payctl.store.payments.open_orders import OpenOrders

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
NOTHING = Waiting(0, 0, None, None, None)
LONGEST = LongestWait("e", 60.0, requeued=False)
QUIET = Report(
    at=START,
    parts=Parts(START, START + timedelta(hours=1), 60),
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
PORTAL = "look in the gateway's portal"
ASK = "ask the gateway with payctl reconcile payments"
NOBODY = "No customer who has paid is waiting for a ticket."


def orders(number):
    """Return the given number of orders without their details."""
    return OpenOrders(number, number * 450_000, ())


def payments(silent, forgotten=0, closed=0):
    """Return the counts of overdue payments. ``forgotten`` counts the open payments that are too old for a query."""
    return CreatedPayments({}, silent + closed, silent, forgotten, closed)


def gaps(number):
    """Return the given number of sections that were not counted."""
    return tuple(Gap(section, GapReason.TIMED_OUT) for section in list(Section)[:number])


EMPTY = "no event is waiting, and no event is dead."
ONE_CUSTOMER = "1 customer paid, or may have paid, and has no ticket (450,000 VND)."
TWO_CUSTOMERS = "2 customers paid, or may have paid, and have no ticket (900,000 VND)."
FOUR_OVERDUE = "4 payments are overdue and may have been paid"
ONE_OVERDUE = "1 payment is overdue and may have been paid"
TWO_OVERDUE = "2 payments are overdue and may have been paid"
SENTENCES = [
    ({}, f"Nothing is open: {EMPTY}"),
    ({"payments": payments(0, closed=1)}, f"Nothing is open: {EMPTY} 1 overdue payment was closed by an operator."),
    ({"payments": payments(0, closed=2)}, f"Nothing is open: {EMPTY} 2 overdue payments were closed by an operator."),
    ({"payments": payments(1, closed=1)},
     f"{NOBODY} {ONE_OVERDUE}: {ASK}. 1 overdue payment was closed by an operator."),
    ({"no_event": orders(0)}, f"Nothing is open: each paid order has its event, {EMPTY}"),
    ({"refused": orders(1)}, ONE_CUSTOMER),
    ({"refused": orders(2)}, TWO_CUSTOMERS),
    ({"no_event": orders(1)}, f"{ONE_CUSTOMER} 1 paid order has no success event."),
    ({"no_event": orders(2)}, f"{TWO_CUSTOMERS} 2 paid orders have no success event."),
    ({"money": orders(1)}, f"{NOBODY} 1 order has a payment that needs manual review."),
    ({"money": orders(2)}, f"{NOBODY} 2 orders have a payment that needs manual review."),
    ({"waiting": NOTHING._replace(pending=1, longest=LONGEST)},
     f"{NOBODY} 1 event is waiting, the longest for 1 min."),
    ({"waiting": NOTHING._replace(pending=2, longest=LONGEST)},
     f"{NOBODY} 2 events are waiting, the longest for 1 min."),
    ({"waiting": NOTHING._replace(pending=3, longest=LONGEST._replace(is_longest=False))},
     f"{NOBODY} 3 events are waiting, the longest for at least 1 min."),
    ({"waiting": NOTHING._replace(dead=1)}, f"{NOBODY} 1 event is dead."),
    ({"waiting": NOTHING._replace(dead=2)}, f"{NOBODY} 2 events are dead."),
    ({"waiting": NOTHING._replace(dead=2), "closed": 1}, f"{NOBODY} 1 event is dead, 1 closed by an operator."),
    ({"waiting": NOTHING._replace(dead=1), "closed": 1},
     "Nothing is open: no event is waiting, and 1 dead event was closed by an operator."),
    ({"waiting": NOTHING._replace(dead=2), "closed": 2},
     "Nothing is open: no event is waiting, and 2 dead events were closed by an operator."),
    ({"gaps": (Gap(Section.LATE_FAILURES, GapReason.TIMED_OUT),), "unpublished": orders(0), "late_failures": None},
     f"{NOBODY} 1 part of this report was not counted."),
    ({"gaps": gaps(1)}, f"{NOBODY} 1 part of this report was not counted."),
    ({"gaps": gaps(2)}, f"{NOBODY} 2 parts of this report were not counted."),
    ({"payments": payments(0)}, f"Nothing is open: {EMPTY}"),
    ({"payments": payments(1)}, f"{NOBODY} {ONE_OVERDUE}: {ASK}."),
    ({"payments": payments(2)}, f"{NOBODY} {TWO_OVERDUE}: {ASK}."),
    ({"payments": payments(1, 1)},
     f"{NOBODY} {ONE_OVERDUE}: {PORTAL}, because it is too old for its status query."),
    ({"payments": payments(2, 2)},
     f"{NOBODY} {TWO_OVERDUE}: {PORTAL}, because they are too old for its status query."),
    ({"payments": payments(2, 1)},
     f"{NOBODY} {TWO_OVERDUE}: {ASK}, or {PORTAL} for the one that is too old for its status query."),
    ({"payments": payments(4, 2)},
     f"{NOBODY} {FOUR_OVERDUE}: {ASK}, or {PORTAL} for the 2 that are too old for its status query."),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "words"), SENTENCES)
def test_the_verdict_fits_the_number(facts, words):
    """The report's first line uses the singular for a count of 1, and the plural for a count of 2."""
    assert verdict(replace(QUIET, **facts)) == words


OVERDUE = "created in the window {} PENDING for over 20 minutes, and may have been paid"
TOO_OLD = f"too old for the gateway's status query: {PORTAL}, then record what you found with payctl close"


@pytest.mark.parametrize(
    ("silent", "forgotten", "overdue", "too_old"),
    [
        (0, 0, None, None),
        (1, 0, f"1 payment {OVERDUE.format('is')}", None),
        (2, 0, f"2 payments {OVERDUE.format('are')}", None),
        (1, 1, f"1 payment {OVERDUE.format('is')}", f"It is {TOO_OLD}"),
        (2, 1, f"2 payments {OVERDUE.format('are')}", f"One of them is {TOO_OLD}"),
        (2, 2, f"2 payments {OVERDUE.format('are')}", f"They are {TOO_OLD}"),
        (4, 2, f"4 payments {OVERDUE.format('are')}", f"2 of them are {TOO_OLD}"),
    ],
)
def test_the_sentences_about_overdue_payments_fit_the_number(silent, forgotten, overdue, too_old):
    """The sentences about overdue payments use the singular for a count of 1, and the plural for a count of 2."""
    report = replace(QUIET, payments=payments(silent, forgotten))
    assert (overdue_sentence(report), too_old_sentence(report)) == (overdue, too_old)


@pytest.mark.parametrize(("what", "did"), [(None, "created"), ("requeued", "requeued")])
def test_the_timeline_says_since_when_an_event_waits(what, did):
    """The timeline says when the longest-waiting event was created or, after a replay, requeued."""
    moment = Moment(START, MomentKind.OLDEST_PENDING, "e", what)
    assert moment_sentence(moment, UTC, str) == f"the longest-waiting event was {did}"
