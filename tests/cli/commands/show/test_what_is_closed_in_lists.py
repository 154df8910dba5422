"""Test that the report, the lists and the live screen omit or mark what a person has closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.cli.commands.show.findings_to_close import CASES, HOUR, NOW, late, wrong
from ticketbottle_payctl.jobs.order import open_money
from ticketbottle_payctl.jobs.order.judge_money import judge_stray
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import GapReason, OpenOrders
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.store.payments.money import stray
from ticketbottle_payctl.store.payments.open_money import perhaps_open

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("name", [name for name in CASES if name != "tickets released after the success"])
def test_report_and_doctor_name_what_show_names_until_it_is_closed(name, orders, ask, close):
    """The report and the doctor name an order as long as `payctl show` reports a finding that a person can close."""

    def seen():
        report = ask("report", "--since", "3h")
        figures = {each["name"]: each["value"] for each in report["items"]}
        findings = {each["status"] for each in ask("doctor", "--only", "callbacks")["items"]}
        return figures["refused_orders"] + figures["money_orders"], report["result"]["quiet"], findings

    CASES[name][0](orders)
    number, quiet, findings = seen()
    assert (number, quiet, findings <= {"warn", "fail"}) == (1, False, True)
    close()
    assert seen() == (0, True, {"ok"})


def test_report_lists_the_orders_with_money_that_needs_manual_review(orders, ask, invoke, database_url):
    """The report's first line says that an order has a payment that needs manual review, and names the finding."""
    late(orders)
    report = ask("report", "--since", "3h")["result"]
    assert "1 order has a payment that needs manual review." in report["verdict"]
    (order,) = report["money_orders"]
    assert (order["kind"], order["order_code"], order["why"]) == ("money", orders.payment.order_code, "late_money")
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert text.startswith("# ! ")
    assert f"`{orders.payment.order_code}`, 320,000 VND: money from" in text


def test_report_says_if_it_judged_only_the_oldest_orders(orders, engine):
    """If too many orders have callbacks about money, the report checks only the oldest orders and says so."""
    late(orders)
    oldest = orders.payment.order_code
    wrong(orders.pay("COMPLETED").event(state="published").callback(), "2", 5, age=HOUR / 60)
    until = datetime.now(UTC)
    one = partial(open_money, most=1)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7), open_money=one)
    assert [each.order_code for each in report.money.oldest] == [oldest]
    assert [gap.section for gap in report.gaps if gap.reason is GapReason.TOO_MANY_ORDERS] == ["money_orders"]


def test_the_report_is_quiet_only_if_every_order_was_judged(orders, engine):
    """If the report has not checked every order, it does not claim that nothing is open."""
    orders.pay("COMPLETED").event(state="published").callback()
    until = datetime.now(UTC)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7))
    assert report.is_quiet
    assert not replace(report, money=OpenOrders(0, 0, (), more=True)).is_quiet


@pytest.mark.parametrize("how", [
    lambda o: wrong(o.pay()),
    lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5),
    lambda o: o.pay().callback("COMPLETED", "refused", "unknown_order", order_ref="20", payment=None, amount=5),
    lambda o: o.pay().unclear("unreadable"),
    lambda o: o.unclear("unreadable", order_ref=""),
    lambda o: o.pay().callback("IGNORED", "ignored", "held"),
])  # fmt: skip
def test_the_list_of_callbacks_says_which_a_person_has_closed(how, orders, close, ask, terminal, database_url, engine):
    """After `payctl close`, `list receipts` and `stats --watch` show the callback as closed.

    A later callback is open.
    """
    how(orders)
    assert [each["closed"] for each in ask("list", "receipts")["items"]] == [False]
    refused = ask("list", "receipts", "--failed")["counts"]["listed"]
    close()
    assert [each["closed"] for each in ask("list", "receipts")["items"]] == [True]
    with terminal("list", "receipts", DATABASE_URL=database_url) as it:
        assert it.wait_for("full values").startswith("1 receipt, closed by an operator\n")
    live = collect_live(engine, max_retries=5).refused
    assert (len(live.refused), live.closed) == (0, refused)
    wrong(orders, "9", 999, age=NOW)
    assert [each["closed"] for each in ask("list", "receipts")["items"]] == [False, True]
    live = collect_live(engine, max_retries=5).refused
    assert ([each.id for each in live.refused], live.closed) == ([orders.receipts[-1]], refused)


def test_the_live_screen_counts_closed_callbacks(orders, close, terminal, database_url):
    """`stats --watch` counts the refused callbacks that a person has closed, and does not list them."""
    wrong(orders.pay())
    close()
    with terminal("stats", "--watch", "--interval", "200ms", DATABASE_URL=database_url) as it:
        picture = it.wait_for("1 closed by an operator")
        assert "none open of the last 1 callback" in picture
        assert it.end() == 130


def test_harmless_orders_leave_room_for_open_ones(orders, engine):
    """If the oldest orders with a refused callback turn out to be harmless, the newer open ones are still listed."""
    for _ in range(3):
        wrong(orders.pay("COMPLETED").event(state="published").callback(age=HOUR), "4711", 320_001, age=2 * HOUR)
    late(orders)
    until = datetime.now(UTC)
    with engine.connect() as connection:
        found = open_money(connection, until - 3 * HOUR, until, until, most=1)
        cut = open_money(connection, until - 3 * HOUR, until, until, most=1, most_judged=2)
    assert ([each.order_code for each in found.oldest], found.more) == ([orders.payment.order_code], False)
    assert (found.number, found.amount) == (1, 320_000)
    assert (cut.number, cut.amount, cut.more) == (0, 0, True)


def test_a_repeated_callback_about_a_closed_transfer_is_no_candidate(orders, close, engine):
    """Repeated callbacks about a closed transfer do not count towards the limit on checked orders."""
    second = (
        orders.pay("COMPLETED").event(state="published").callback().callback(result="already_settled", number="4712")
    )
    close()
    wrong(second.callback(result="already_settled", number="4712", age=NOW), "4711", age=NOW)
    until = datetime.now(UTC)
    with engine.connect() as connection:
        assert perhaps_open(connection, until - HOUR, until, ["refund"], 10) == []
        assert len(perhaps_open(connection, until - HOUR, until, ["refund", "wrong_amount"], 10)) == 1


def test_a_receipt_that_is_deleted_while_the_report_is_made_is_left_out(orders, engine):
    """If a cleanup deletes a receipt while the report is made, the report leaves it out without an error."""
    orders.callback("COMPLETED", "refused", "unknown_order", amount=5)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM payctl.webhook_receipts")
        assert stray(connection, orders.receipts[0]) is None
    assert list(judge_stray(())) == []
