"""Test `payctl close`. It closes findings that an operator has dealt with. A further transfer opens a new finding."""

from __future__ import annotations

from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)
NOW = timedelta(0)
DONE = "refunded in the portal"


def late(order):
    """Insert an order that was paid after it was cancelled."""
    return order.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(state="published").callback(age=HOUR)


def wrong(order, number="1", amount=321_000, *, age=HOUR):
    """Insert a receipt of a successful payment that was refused for a wrong amount."""
    return order.callback("COMPLETED", "refused", "wrong_amount", amount=amount, number=number, age=age)


# name: how to write the order, and the kinds of findings that a person can close
CASES = {
    "paid too late": (late, ["late_money"]),
    "a wrong amount": (lambda o: wrong(o.pay()), ["wrong_amount"]),
    "two wrong amounts": (lambda o: wrong(wrong(o.pay(), age=2 * HOUR), "2", 5), ["wrong_amount"] * 2),
    "a wrong amount of a cancelled order": (
        lambda o: wrong(o.pay("CANCELLED").event("CANCELLED", "published")), ["wrong_amount"]),
    "paid twice": (
        lambda o: o.pay("COMPLETED").event(state="published").callback().callback(
            result="already_settled", number="4712"), ["second_payment"]),
    "unreadable": (lambda o: o.pay().unclear("unreadable"), ["unreadable"]),
    "held": (lambda o: o.pay().callback("IGNORED", "ignored", "held"), ["money_held"]),
    "a failure after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOUR).callback(
            "FAILED", "refused", "contradicts_completed"), ["contradicted"]),
    "no payment": (
        lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5), ["unknown_order"]),
    "tickets released after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").event("FAILED", "published", age=HOUR / 60),
        ["released_after_success"]),
}  # fmt: skip


@pytest.fixture
def close(ask, orders):
    """Return a function that runs `payctl close` for the order and returns the document."""
    return lambda *options: ask("close", orders.name, "-y", "--reason", DONE, *options, PAYCTL_ACTOR="Lan")


@pytest.mark.parametrize("name", CASES)
def test_a_closed_finding_is_good_and_names_the_person_and_the_reason(name, orders, ask, close):
    """After `payctl close`, `payctl show` exits with 0 and still shows the finding, with who closed it and why."""
    write, kinds = CASES[name]
    write(orders)
    assert ask("show", orders.name)["exit_code"] == 5
    document = close()
    assert ([each["kind"] for each in document["items"]], document["counts"]) == (kinds, {"closed": len(kinds)})
    shown = ask("show", orders.name)
    findings = [shown["result"]["verdict"], *shown["result"]["also"]]
    closed = [each for each in findings if each["closed_by_run"] == document["run_id"]]
    assert (shown["exit_code"], [each["kind"] for each in closed]) == (0, kinds)
    assert all(f"closed just now by Lan: {DONE}" in each["text"] or " s ago by Lan" in each["text"] for each in closed)
    assert all((each["mark"], each["todo"]) == ("good", None) for each in closed)
    assert [step["facts"]["reason"] for step in shown["items"] if step["kind"] == "closed"] == [DONE]


def test_money_that_arrives_after_the_closing_is_open_again(orders, ask, close):
    """A further transfer of money after `payctl close` opens a new finding, and the closed finding stays closed."""
    wrong(orders.pay())
    close()
    wrong(orders, "2", 5, age=NOW)
    result = ask("show", orders.name)["result"]
    findings = [result["verdict"], *result["also"]]
    assert [(each["paid"], each["mark"]) for each in findings] == [(5, "bad"), (321_000, "good")]


def test_a_repeated_callback_about_a_closed_transfer_stays_closed(orders, ask, close):
    """If a gateway repeats a callback about a closed transfer, the finding stays closed.

    An open finding could make an operator refund the transfer twice.
    """
    wrong(orders.pay())
    close()
    wrong(orders, age=NOW)
    assert ask("show", orders.name)["exit_code"] == 0


def test_a_third_transfer_opens_a_closed_double_payment(orders, ask, close):
    """If a third transfer arrives after a double payment was closed, `payctl show` has an open finding again."""
    orders.pay("COMPLETED").event(state="published").callback().callback(result="already_settled", number="4712")
    close()
    orders.callback(result="already_settled", number="4713", age=NOW)
    verdict = ask("show", orders.name)["result"]["verdict"]
    assert (verdict["mark"], verdict["text"][:13]) == ("open", "PAID 3 TIMES:")


@pytest.mark.parametrize("write", [lambda o: wrong(o.pay()), CASES["no payment"][0]], ids=["payment", "no payment"])
def test_report_and_doctor_leave_out_a_closed_order(write, orders, ask, close):
    """After `payctl close`, neither the report nor the doctor's check of callbacks counts the order."""

    def seen():
        figures = {each["name"]: each["value"] for each in ask("report", "--since", "2h")["items"]}
        finding = ask("doctor", "--only", "callbacks")["items"][0]
        return figures["refused_orders"], finding["status"]

    write(orders)
    assert seen() == (1, "warn")
    close()
    assert seen() == (0, "ok")


def test_close_records_the_state_of_each_finding_before_and_after(orders, ask, close):
    """After `payctl close`, `payctl runs show` has each finding's payment, receipt, and state before and after."""
    wrong(orders.pay())
    shown = ask("runs", "show", close()["run_id"])
    (row,) = shown["items"]
    assert (shown["result"]["command"], shown["result"]["reason"]) == ("close", DONE)
    assert (row["id"], row["outcome"], row["reason"]) == (orders.payment.id, "closed", "wrong_amount")
    assert (row["before"]["state"], row["after"]["state"]) == ("open", "closed")
    assert row["after"]["receipt"] == orders.receipts[0]


def test_close_needs_a_reason(orders, ask, content):
    """Without --reason, `payctl close` records nothing, and the error says who reads the reason."""
    wrong(orders.pay())
    before = content()
    document = ask("close", orders.name, "-y")
    assert (document["exit_code"], "the next shift reads it" in document["error"]["message"]) == (2, True)
    assert content() == before


@pytest.mark.parametrize(
    "write",
    [
        lambda o: o.pay("COMPLETED").callback().event(state="published"),
        lambda o: o.pay("COMPLETED").event(state="dead"),
        lambda o: o.pay(age=2 * HOUR),
    ],
    ids=["nothing is open", "a dead event", "no callback"],
)
def test_what_a_command_can_repair_cannot_be_closed(write, orders, ask, close, content):
    """`payctl close` does not close findings that a command can repair, and then records nothing."""
    write(orders)
    before, code = content(), ask("show", orders.name)["exit_code"]
    document = close()
    assert (document["exit_code"], document["counts"], document["run_id"]) == (0, {"closed": 0}, None)
    assert (content(), ask("show", orders.name)["exit_code"]) == (before, code)


def test_a_dry_run_of_close_records_nothing(orders, close, content):
    """With -n, `payctl close` counts the findings that it would close, and records nothing."""
    wrong(orders.pay())
    before = content()
    assert close("-n")["counts"] == {"closed": 1}
    assert content() == before


def test_show_prints_the_command_that_closes(orders, invoke, database_url):
    """Until a finding is closed, `payctl show` suggests the `payctl close` command."""
    wrong(orders.pay())
    command = f"payctl close {orders.payment.order_code} --reason TEXT"
    assert command in invoke("show", orders.name, DATABASE_URL=database_url).stdout
    invoke("close", orders.name, "-y", "--reason", DONE, DATABASE_URL=database_url)
    assert command not in invoke("show", orders.name, DATABASE_URL=database_url).stdout
