"""Test that payctl recognises closed findings and the most urgent finding. The tests need no database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.jobs.order.rows import (
    EVENT,
    FAILURE,
    MINUTE,
    PAID,
    RECEIPT,
    RUN,
    SECOND,
    START,
    TICK,
    history,
)
from ticketbottle_payctl.jobs.order.closed_findings import closed, subject_of
from ticketbottle_payctl.jobs.order.model import Mark, Timeline, Verdict, VerdictKind
from ticketbottle_payctl.jobs.order.records import Records
from ticketbottle_payctl.jobs.order.verdict import judge
from ticketbottle_payctl.store.payctl.runs import Closing
from ticketbottle_payctl.store.payments.history import History


def test_a_closing_covers_the_money_that_was_reported_until_then():
    """A finding is closed if its transfer was first reported at or before the `until` time of a closing record."""
    finding = Verdict(VerdictKind.WRONG_AMOUNT, Mark.BAD, START + MINUTE, receipt=RECEIPT)
    again = replace(RECEIPT, id="again", received_at=START + MINUTE)
    for until, kept in ((START, False), (START - TICK, True)):
        found = history(PAID, receipts=[RECEIPT, again], closings=[Closing(until, RUN)])
        (each,) = closed([replace(finding, receipt=again)], found)
        assert ((each.closing is None), each.mark) == (kept, Mark.BAD if kept else Mark.GOOD)
    found = history(PAID, receipts=[RECEIPT], closings=[Closing(START, RUN)])
    delivered = Verdict(VerdictKind.DEAD, Mark.BAD, START)
    assert list(closed([delivered], found)) == [delivered]


def test_a_later_closing_does_not_change_the_reason_of_an_earlier_one():
    """Each finding keeps the first closing record that covers it, even if a later record covers a new transfer."""
    later = replace(RECEIPT, id="later", received_at=START + MINUTE, transfer="8")
    closings = [Closing(START, RUN), Closing(START + MINUTE, replace(RUN, id="later run"))]
    found = history(PAID, receipts=[RECEIPT, later], closings=closings)
    findings = [Verdict(VerdictKind.WRONG_AMOUNT, Mark.BAD, START, receipt=each) for each in (RECEIPT, later)]
    assert [each.closing.run.id for each in closed(findings, found)] == [RUN.id, "later run"]


@pytest.mark.parametrize(("until", "kept"), [(START, False), (START - TICK, True)])
def test_late_money_is_closed_from_the_instant_of_its_success(until, kept):
    """Late money is closed if the payment became COMPLETED at or before the `until` time of a closing record."""
    late = Verdict(VerdictKind.LATE_MONEY, Mark.OPEN, START)
    (each,) = closed([late], history(PAID, closings=[Closing(until, RUN)]))
    assert (each.closing is None) is kept


def test_a_second_payment_is_closed_with_its_latest_transfer():
    """A second payment is closed if all transfers for the order were reported at or before the `until` time.

    Repeated callbacks do not matter.
    """
    other = replace(RECEIPT, id="o", received_at=START + SECOND, payment_number="8", transfer="8")
    foreign = replace(other, id="x", received_at=START + MINUTE, payment_number="9", payment_id="another")
    numberless = replace(other, id="n", received_at=START + MINUTE, payment_number=None)
    again = replace(RECEIPT, id="again", received_at=START + MINUTE)
    receipts = [RECEIPT, other, foreign, numberless, again]
    finding = Verdict(VerdictKind.SECOND_PAYMENT, Mark.OPEN, START + MINUTE, receipt=again)
    for until, kept in ((START + SECOND, False), (START + SECOND - TICK, True)):
        (each,) = closed([finding], history(PAID, receipts=receipts, closings=[Closing(until, RUN)]))
        assert (each.closing is None) is kept


def test_a_finding_is_closed_under_the_name_that_leads_to_it():
    """If a callback without a payment uses a different name for the order, its finding is closed under that name."""
    early = replace(RECEIPT, payment_id=None, order_ref="261129_TB-1")

    def subject(receipt, payment=PAID):
        found = History(payment, (early,), (), ())
        return subject_of(Verdict(VerdictKind.WRONG_AMOUNT, Mark.BAD, START, receipt=receipt), found)

    assert subject(early) == "261129_TB-1"
    for receipt in (None, RECEIPT, replace(early, order_ref=""), replace(early, order_ref="TB-1")):
        assert subject(receipt) == "p"
    assert subject(early, None) == "261129_TB-1"


OVERDUE = Verdict(VerdictKind.NO_CALLBACK, Mark.BAD, START, is_overdue_payment=True)


def test_an_overdue_payment_is_closed_under_its_id():
    """The closing record of an overdue payment has the payment's id, whatever name the gateway's callback contains."""
    early = replace(RECEIPT, payment_id=None, order_ref="another")
    for receipt in (None, early):
        assert subject_of(replace(OVERDUE, receipt=receipt), History(PAID, (early,), (), ())) == "p"


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, False),
        ({"received_at": START + TICK}, True),
        ({"received_at": START + TICK, "payment_id": None}, True),
        ({"received_at": START + TICK, "payment_id": "another"}, False),
        ({"received_at": START + TICK, "provider": "another"}, False),
    ],
)
def test_an_overdue_payment_is_closed_until_its_gateway_calls_back(changes, kept):
    """A closed overdue payment is open again if its own gateway called back after payctl had queried the gateway."""
    receipts = [replace(RECEIPT, **changes)]
    for asked_at, stays in ((START, kept), (None, True)):
        found = history(PAID, receipts=receipts, closings=[Closing(START + MINUTE, RUN, asked_at)])
        (each,) = closed([OVERDUE], found)
        assert (each.closing is None) is stays


@pytest.mark.parametrize(
    ("event", "facts", "debezium", "unsent"),
    [
        (EVENT, {}, False, True),
        (EVENT, {}, True, False),
        (EVENT, {"replays": 1}, True, True),
        (replace(EVENT, retry_count=1), {}, True, True),
        (replace(EVENT, state="dead"), {}, True, True),
        (replace(EVENT, state="published"), {}, False, False),
        (FAILURE, {}, False, False),
        (None, {}, True, False),
        (None, {"kind": VerdictKind.NO_EVENT}, True, True),
        (None, {"kind": VerdictKind.NO_EVENT, "ticket_is_due": False}, False, False),
    ],
)
def test_a_success_is_sent_if_it_is_published_or_debezium_sends_it(event, facts, debezium, unsent):
    """A success counts as unsent until its event is published.

    While Debezium publishes, a new event counts as sent, but a failed, dead or requeued event does not.
    """
    verdict = replace(Verdict(VerdictKind.WAITING, Mark.OPEN, event=event), **facts)
    other = Verdict(VerdictKind.LATE_MONEY, Mark.OPEN)
    for first, also in ((verdict, (other,)), (other, (verdict,))):
        timeline = Timeline(PAID, first, (), (), also, debezium_sends=debezium)
        assert timeline.success_is_unsent is unsent
        assert timeline.success_is_unmarked is (unsent or (debezium and event is not None))


def test_the_most_urgent_finding_comes_first_and_a_closed_one_last():
    """The findings about an order are sorted by urgency. A finding that a person has closed comes last."""
    sent = replace(EVENT, state="published", published_at=START)
    wrong = replace(
        RECEIPT, id="w", result="refused", reason="wrong_amount", payment_number="8", transfer="8", amount=5
    )
    found = history(PAID, sent, receipts=[RECEIPT, wrong])
    assert [each.kind for each in judge(found, Records(), START, None)] == ["wrong_amount", "published"]
    found = replace(found, closings=(Closing(START, RUN),))
    assert [each.kind for each in judge(found, Records(), START, None)] == ["published", "wrong_amount"]
