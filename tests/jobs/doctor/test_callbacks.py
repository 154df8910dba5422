"""Test the doctor's findings about genuine callbacks that settled nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.jobs.process_webhook.conftest import Shop
from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.store.payments.open_orders import OpenOrder, OpenOrders, WithoutTicket

pytestmark = pytest.mark.postgres


@pytest.fixture
def shop(engine):
    """Return a shop that uses the test's database."""
    return Shop(engine)


@pytest.fixture
def found(engine):
    """Return a function that runs the doctor's callback check and returns the findings."""
    subject = Subject(lambda: engine, None, None, lambda _: {}, lambda: datetime.now(UTC))
    return lambda: diagnose(subject, ["callbacks"]).findings


def unreadable(shop, payment):
    """Process a genuine callback that payctl cannot read, for a MoMo payment."""
    return shop.process(alter(callback(payment), "momo", [("amount", "x")], environment()))


def without_a_row():
    """Return a payment that is not in the database."""
    return SandboxPayment("p", "TB-LATE-20261123-AAAA1111", 250_000, "MOMO", "TB-LATE-20261123-AAAA1111")


OPEN = {
    "unreadable": (unreadable, Status.FAIL, "reconcile"),
    "wrong amount": (lambda shop, payment: shop.process(payment, Scenario.WRONG_AMOUNT), Status.WARN, "show"),
    "undocumented code": (
        lambda shop, payment: shop.process(alter(callback(payment), "momo", [("resultCode", "4711")], environment())),
        Status.WARN,
        "show",
    ),
    "unknown order": (lambda shop, _: shop.process(callback(without_a_row())), Status.WARN, "show"),
}


@pytest.mark.parametrize("name", OPEN)
def test_the_doctor_reports_a_callback_that_settled_nothing(name, shop, found):
    """The doctor reports a callback that settled nothing, with its age, its reason and a command.

    Copies of a callback count once.
    """
    send, status, verb = OPEN[name]
    payment = shop.payment("momo")
    reports = [send(shop, payment) for _ in range(3)]
    (finding,) = found()
    assert (finding.status, finding.command.verb[0]) == (status, verb)
    assert finding.fact.startswith("1 genuine callback settled nothing; the oldest arrived ")
    assert finding.fact.endswith(f"1 {reports[0].reason}")
    known = name != "unknown order"
    assert finding.command.operands == ((payment.order_code if known else reports[0].receipt_id),)


@pytest.mark.parametrize("name", OPEN)
def test_the_doctor_forgets_a_callback_whose_payment_is_completed(name, shop, found):
    """The doctor does not report a callback whose payment was settled later.

    A callback for an unknown order stays in the report.
    """
    payment = shop.payment("momo")
    OPEN[name][0](shop, payment)
    shop.process(payment)
    assert [each.status for each in found()] == [Status.WARN if name == "unknown order" else Status.OK]


@pytest.mark.parametrize("scenario", [Scenario.PAID, Scenario.FAILED, Scenario.PENDING])
def test_the_doctor_reports_no_callback_that_was_handled(scenario, shop, found):
    """The doctor ignores a callback that settled a payment, repeated a result, or was about a pending payment."""
    payment = shop.payment("momo")
    for _ in range(2):
        shop.process(payment, scenario)
    assert [each.status for each in found()] == [Status.OK]


def test_the_doctor_settles_a_callback_that_came_before_its_payment(shop, found):
    """If a callback arrived before its payment, the doctor suggests the command that processes the callback again.

    After this command settles the payment, the doctor no longer reports a problem.
    """
    early = shop.process(callback(without_a_row()))
    assert [each.status for each in found()] == [Status.WARN]
    payment = shop.payment("momo", order_code="TB-LATE-20261123-AAAA1111")
    (finding,) = found()
    assert finding.status is Status.FAIL
    assert finding.command == Command(("process-webhook",), (), ("--receipt", early.receipt_id), changes=True)
    assert shop.process(callback(payment)).outcome.value == "settled"
    assert [each.status for each in found()] == [Status.OK]


def test_the_doctor_forgets_a_failure_that_was_settled_when_its_payment_existed(shop, found):
    """The doctor does not report a callback if a later copy of it has set the payment to FAILED."""
    early = callback(without_a_row(), Scenario.FAILED)
    shop.process(early)
    assert [each.status for each in found()] == [Status.WARN]
    shop.payment("momo", order_code="TB-LATE-20261123-AAAA1111")
    assert shop.process(early).outcome.value == "settled"
    assert [each.status for each in found()] == [Status.OK]


def test_the_doctor_reports_the_oldest_of_several_callbacks(shop, found, engine):
    """The doctor counts the unsettled callbacks for each reason, and suggests a command for the oldest one."""
    first, second = shop.payment("momo"), shop.payment("momo")
    unreadable(shop, first)
    unreadable(shop, second)
    shop.process(shop.payment("vnpay"), Scenario.WRONG_AMOUNT)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE payctl.webhook_receipts SET received_at = received_at - %s WHERE payment_id = %s",
            (timedelta(hours=5), second.id),
        )
    failed, warned = found()
    assert failed.fact == "2 genuine callbacks settled nothing; the oldest arrived 5 h ago: 2 unreadable"
    assert failed.command.operands == (second.order_code,)
    assert warned.fact.endswith("1 wrong_amount")


def test_the_doctor_forgets_a_callback_after_a_week(shop, found, engine):
    """The doctor reports an unsettled callback for only a week."""
    unreadable(shop, shop.payment("momo"))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.webhook_receipts SET received_at = now() - interval '8 days'")
    assert [each.status for each in found()] == [Status.OK]


def test_the_doctor_warns_if_it_did_not_judge_every_order(engine):
    """If the doctor checked only the oldest orders, and none is open, the doctor warns instead of reporting success."""
    subject = Subject(
        lambda: engine,
        None,
        None,
        lambda _: {},
        lambda: datetime.now(UTC),
        open_money=lambda *_: OpenOrders(0, 0, (), more=True),
    )
    (finding,) = diagnose(subject, ["callbacks"]).findings
    assert (finding.status, finding.command) == (Status.WARN, Command(("report",)))


@pytest.mark.parametrize(("code", "more"), [("TB-2", False), ("TB-2", True), (None, False)])
def test_the_doctor_names_the_oldest_order_that_needs_manual_review(shop, engine, code, more):
    """The doctor counts the past week's orders that need manual review, except those that it has already reported."""
    reported, now, asked = shop.payment("momo"), datetime.now(UTC), []
    shop.process(reported, Scenario.WRONG_AMOUNT)
    names = (("p", reported.order_code), ("q", code), ("r", None))
    orders = tuple(OpenOrder(WithoutTicket.MONEY, row, name, 9, now, "late_money") for row, name in names)

    def open_money(_, *window):
        asked.append(window)
        return OpenOrders(3, 27, orders, more=more)

    subject = Subject(lambda: engine, None, None, lambda _: {}, lambda: now, open_money=open_money)
    _, finding = diagnose(subject, ["callbacks"]).findings
    least = "at least " if more else ""
    assert finding.fact == f"{least}2 orders with a payment that needs manual review, 2 late_money"
    assert (finding.status, finding.command) == (Status.WARN, Command(("show",), (code or "q",)))
    ((since, until, at),) = asked
    assert (until - since, until, until.tzinfo) == (timedelta(days=7), at, UTC)


def test_the_doctor_says_if_it_cannot_read_the_callbacks(found, engine):
    """If the doctor cannot read the callbacks, it reports a warning."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE payctl.webhook_receipts")
    assert [each.status for each in found()] == [Status.WARN]


@pytest.mark.parametrize("scenario", [Scenario.PAID, Scenario.FAILED])
def test_the_doctor_never_settles_a_payment_with_another_gateways_callback(scenario, shop, found):
    """If the wrong gateway sent the early callback, payctl would refuse it, so the doctor suggests `payctl show`."""
    shop.process(callback(without_a_row(), scenario))
    payment = shop.payment("payos", order_code="TB-LATE-20261123-AAAA1111")
    (finding,) = found()
    assert (finding.status, finding.command) == (Status.WARN, Command(("show",), (payment.order_code,)))
    assert finding.fact.endswith(": 1 other_provider")
