"""Test `payctl close`. It closes findings that an operator has dealt with. A further transfer opens a new finding."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from ticketbottle_payctl.jobs.order import open_money
from ticketbottle_payctl.jobs.order.judge_money import judge_stray
from ticketbottle_payctl.jobs.report import collect_report
from ticketbottle_payctl.jobs.report.model import GapReason, OpenOrders
from ticketbottle_payctl.jobs.stats.live import collect_live
from ticketbottle_payctl.store.payments.money import stray
from ticketbottle_payctl.store.payments.open_money import perhaps_open

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


# name: how to insert the order, and the kinds of findings that a person can close
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
    "unreadable and without an order": (lambda o: o.unclear("unreadable", order_ref=""), ["unreadable"]),
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
    """After `payctl close`, `payctl show` exits with 0, and still shows the finding, who closed it and why."""
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
    """If a third transfer arrives after a double payment was closed, `payctl show` reports an open finding again."""
    orders.pay("COMPLETED").event(state="published").callback().callback(result="already_settled", number="4712")
    close()
    orders.callback(result="already_settled", number="4713", age=NOW)
    verdict = ask("show", orders.name)["result"]["verdict"]
    assert (verdict["mark"], verdict["text"][:13]) == ("open", "PAID 3 TIMES:")


def test_a_refused_transfer_does_not_open_a_closed_double_payment(orders, ask, close):
    """If a wrong amount arrives after a double payment was closed, only the finding about this amount is open."""
    orders.pay("COMPLETED").event(state="published").callback().callback(result="already_settled", number="4712")
    close()
    wrong(orders, "4713", 5, age=NOW)
    result = ask("show", orders.name)["result"]
    marks = {each["kind"]: each["mark"] for each in (result["verdict"], *result["also"])}
    assert (marks["wrong_amount"], marks["second_payment"]) == ("open", "good")


def test_a_transfer_for_another_payment_does_not_open_a_closed_double_payment(orders, ask, close):
    """A transfer for another payment with the same reference does not reopen a closed double payment."""
    orders.pay("COMPLETED").event(state="published").callback().callback(result="already_settled", number="4712")
    close()
    orders.callback(number="4713", payment="another payment", age=NOW)
    assert ask("show", orders.name)["exit_code"] == 0


def test_closing_a_callback_without_an_order_leaves_other_callbacks_open(orders, ask, close):
    """`payctl close` with the id of a callback that names no order closes only this callback's finding."""
    orders.unclear("unreadable", order_ref="")
    orders.unclear("unreadable", order_ref="", body=b"another callback")
    assert close()["counts"] == {"closed": 1}
    assert [ask("show", each)["exit_code"] for each in orders.receipts] == [0, 5]
    (order,) = ask("report", "--since", "3h")["result"]["orders"]
    assert order["id"] == orders.receipts[1]


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
    """The report says in its first line that an order has a payment that needs manual review, and names the finding."""
    late(orders)
    report = ask("report", "--since", "3h")["result"]
    assert "1 order has a payment that needs manual review." in report["verdict"]
    (order,) = report["money_orders"]
    assert (order["kind"], order["order_code"], order["why"]) == ("money", orders.payment.order_code, "late_money")
    text = invoke("report", "--since", "3h", DATABASE_URL=database_url).stdout
    assert text.startswith("# ! ")
    assert f"`{orders.payment.order_code}`, 320,000 VND: money from" in text


def test_report_says_if_it_judged_only_the_oldest_orders(orders, engine):
    """If more orders have callbacks about money than a report can judge, the report lists the oldest and says so."""
    late(orders)
    oldest = orders.payment.order_code
    wrong(orders.pay("COMPLETED").event(state="published").callback(), "2", 5, age=HOUR / 60)
    until = datetime.now(UTC)
    one = partial(open_money, most=1)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7), open_money=one)
    assert [each.order_code for each in report.money.oldest] == [oldest]
    assert [gap.section for gap in report.gaps if gap.reason is GapReason.TOO_MANY_ORDERS] == ["money_orders"]


def test_the_report_is_quiet_only_if_every_order_was_judged(orders, engine):
    """If the report has not judged every order, it does not say that nothing is open."""
    orders.pay("COMPLETED").event(state="published").callback()
    until = datetime.now(UTC)
    report = collect_report(engine, until - 3 * HOUR, until, max_retries=5, retention=timedelta(days=7))
    assert report.is_quiet
    assert not replace(report, money=OpenOrders(0, 0, (), more=True)).is_quiet


def test_a_limit_of_one_row_permits_the_closing_of_several_findings(orders, ask, tmp_path):
    """`payctl close` changes one order, even if it closes two findings, so ``max_affected = 1`` permits it."""
    wrong(wrong(orders.pay(), age=2 * HOUR), "2", 5)
    file = tmp_path / "config.toml"
    file.write_text("[profiles.tight.guard]\nmax_affected = 1\n")
    document = ask("--config", str(file), "-p", "tight", "close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["counts"]) == (0, {"closed": 2})


def test_close_records_the_state_of_each_finding_before_and_after(orders, ask, close):
    """For each closed finding, `payctl runs show` lists the payment, the receipt, and the state before and after."""
    wrong(orders.pay())
    shown = ask("runs", "show", close()["run_id"])
    (row,) = shown["items"]
    assert (shown["result"]["command"], shown["result"]["reason"]) == ("close", DONE)
    assert (row["id"], row["outcome"], row["reason"]) == (orders.payment.id, "closed", "wrong_amount")
    assert (row["before"]["state"], row["after"]["state"]) == ("open", "closed")
    assert row["after"]["receipt"] == orders.receipts[0]


def test_close_needs_a_reason(orders, ask, content):
    """Without --reason, `payctl close` records nothing, and the error explains who needs the reason."""
    wrong(orders.pay())
    before = content()
    document = ask("close", orders.name, "-y")
    assert (document["exit_code"], "the next shift reads it" in document["error"]["message"]) == (2, True)
    assert document["error"]["message"].startswith("missing option '--reason'")
    assert content() == before


@pytest.mark.parametrize("typed", ["TEXT", "…", "..."])
def test_close_refuses_the_placeholder_of_a_pasted_command(typed, orders, ask, content):
    """`payctl close` refuses the placeholder in the command that `payctl show` prints, and records nothing."""
    wrong(orders.pay())
    before = content()
    document = ask("close", orders.name, "-y", "--reason", typed)
    assert (document["exit_code"], "placeholder" in document["error"]["message"]) == (2, True)
    assert content() == before


@pytest.mark.parametrize("state", ["dead", "pending"])
def test_late_money_cannot_be_closed_before_the_success_event_is_sent(
    state, orders, ask, invoke, content, database_url
):
    """While the success event is unsent, `payctl close` refuses late money, and `payctl show` says what to do first.

    The seats might be sold before the event is sent, and nobody would check this after a closing.
    """
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).event(state=state).callback(age=HOUR)
    before = content()
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert f"payctl show {orders.name}" in document["error"]["hint"]
    assert content() == before
    text = " ".join(invoke("show", orders.name, DATABASE_URL=database_url).stdout.split())
    assert 0 < text.index("next:") < text.index("to do: after the event is sent")
    assert "the seats may have been sold since" in text
    assert "payctl close" not in text


# name: how to insert the success event and the other findings, and the first command in the hint
UNSENT = {
    "dead": (lambda o: o.event(state="dead"), "replay {first}"),
    "pending": (lambda o: o.event(), "publish-outbox"),
    "young": (lambda o: o.event(age=HOUR / 360), "publish-outbox"),
    "pending, and an unreadable callback": (
        lambda o: o.event().unclear("unreadable", provider="vnpay"), "publish-outbox"),
    "pending, and blocked money": (
        lambda o: o.event().callback("IGNORED", "ignored", "held", number="4712", age=NOW), "publish-outbox"),
    "pending, and an undocumented code": (
        lambda o: o.event().callback("IGNORED", "ignored", "undocumented_code", number="4712", age=NOW),
        "publish-outbox"),
    "dead, and an unreadable callback": (
        lambda o: o.event(state="dead").unclear("unreadable", provider="vnpay"), "replay {first}"),
    "dead, because it is too large for the topic": (
        lambda o: o.event(state="dead", error="MSG_SIZE_TOO_LARGE: x"), "replay {first}"),
    "behind a dead failure": (
        lambda o: o.event("CANCELLED", "dead", age=2 * HOUR).event(), "publish-outbox --on-dead release"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSENT)
def test_the_hint_of_close_sends_the_event(name, orders, ask, invoke, mock_kafka, database_url):
    """The command in the hint of `payctl close` sends the success event, and late money can then be closed."""
    write, wanted = UNSENT[name]
    write(orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR))
    hint = ask("close", orders.name, "-y", "--reason", DONE)["error"]["hint"]
    (command, look) = re.findall("`payctl ([^`]+)`", hint)
    assert look == f"show {orders.name}"
    assert command == orders.named(wanted)
    places = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}
    more = ["-y"] if command.startswith("replay") else []
    assert invoke(*command.split(), *more, **places).exit_code == 0
    assert invoke("publish-outbox", **places).exit_code == 0
    document = ask("close", orders.name, "-y", "--reason", DONE)
    kinds = [each["kind"] for each in document["items"]]
    assert (document["exit_code"], "late_money" in kinds) == (0, True)


def test_the_hint_of_close_says_what_must_be_fixed_before_a_replay(orders, ask):
    """If a replay of the dead success event would fail again, the hint first says what to fix, as `show` does."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    orders.event(state="dead", error="MSG_SIZE_TOO_LARGE: x")
    todo = ask("show", orders.name)["result"]["verdict"]["todo"]
    assert todo.startswith("raise max.message.bytes of payment.completed to ")
    hint = ask("close", orders.name, "-y", "--reason", DONE)["error"]["hint"]
    assert hint.startswith(f"{todo}. Then send the event: `payctl replay {orders.events[0]}`")


def test_late_money_cannot_be_closed_if_no_success_event_exists(orders, ask, content):
    """If a late payment has no success event at all, `payctl close` refuses to close the late money.

    The hint says who can help, and when the closing is possible.
    """
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    before = content()
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["error"]["code"]) == (7, "GUARD")
    assert content() == before
    assert document["error"]["hint"] == (
        "no success event exists, so ask the order service's team whether the order has its tickets. You can close the"
        " finding as soon as the payment service has written the event and it is published, or 7 days"
        f" (OUTBOX_RETENTION_DAYS) after the payment; see the state: `payctl show {orders.name}`"
    )


def test_late_money_without_a_success_event_can_be_closed_after_the_event_is_written(orders, ask):
    """As the hint says, late money can be closed when the missing success event has been written and published."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR).event(state="published")
    assert ask("close", orders.name, "-y", "--reason", DONE)["counts"] == {"closed": 1}


def test_late_money_without_a_success_event_can_be_closed_after_the_retention(orders, ask):
    """As the hint says, late money can be closed when the payment is older than the retention."""
    day = 24 * HOUR
    orders.pay("COMPLETED", ended={"CANCELLED": 3 * day}, age=2 * day).callback(age=2 * day)
    hint = ask("close", orders.name, "-y", "--reason", DONE, OUTBOX_RETENTION_DAYS="30")["error"]["hint"]
    assert "or 30 days (OUTBOX_RETENTION_DAYS) after the payment" in hint
    document = ask("close", orders.name, "-y", "--reason", DONE, OUTBOX_RETENTION_DAYS="1")
    assert (document["exit_code"], document["counts"]) == (0, {"closed": 1})


def test_show_does_not_wait_for_an_event_that_does_not_exist(orders, ask):
    """If a late payment has no success event, `payctl show` says to ask the order service's team at once."""
    orders.pay("COMPLETED", ended={"CANCELLED": 2 * HOUR}).callback(age=HOUR)
    result = ask("show", orders.name)["result"]
    findings = {each["kind"]: each["todo"] for each in (result["verdict"], *result["also"])}
    assert [*findings] == ["no_event", "late_money"]
    assert findings["late_money"].startswith("ask the team of the order service")


def test_close_warns_if_the_success_event_is_unsent(orders, ask):
    """A refund can be recorded before the success event is sent, but the result contains a warning."""
    wrong(orders.pay("COMPLETED").event(state="dead").callback(number="7"))
    document = ask("close", orders.name, "-y", "--reason", DONE)
    assert (document["exit_code"], document["counts"]) == (0, {"closed": 1})
    assert document["warnings"] == [f"the success event has not been sent yet: payctl show {orders.name}"]


def test_close_names_what_it_cannot_close(orders, invoke, database_url):
    """If only a command can repair the order, `payctl close` says so, and names `payctl show`."""
    orders.pay("COMPLETED").event(state="dead")
    result = invoke("close", orders.name, "-n", DATABASE_URL=database_url)
    assert result.exit_code == 7
    assert "nothing was closed: something is still open, but a person cannot close it" in " ".join(
        result.stderr.split()
    )
    assert f"try: payctl show {orders.name}" in result.stderr


@pytest.mark.parametrize("how", [
    lambda o: wrong(o.pay()),
    lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=5),
    lambda o: o.pay().callback("COMPLETED", "refused", "unknown_order", order_ref="20", payment=None, amount=5),
    lambda o: o.pay().unclear("unreadable"),
    lambda o: o.unclear("unreadable", order_ref=""),
    lambda o: o.pay().callback("IGNORED", "ignored", "held"),
])  # fmt: skip
def test_the_list_of_callbacks_says_which_a_person_has_closed(how, orders, close, ask, terminal, database_url, engine):
    """After `payctl close`, `list receipts` and `stats --watch` show the callback as closed; a later one is open."""
    how(orders)
    assert [each["closed"] for each in ask("list", "receipts")["items"]] == [False]
    refused = ask("list", "receipts", "--failed")["counts"]["listed"]
    close()
    assert [each["closed"] for each in ask("list", "receipts")["items"]] == [True]
    with terminal("list", "receipts", DATABASE_URL=database_url) as it:
        assert it.wait_for("full values").startswith("1 receipt, closed by a person\n")
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
        picture = it.wait_for("1 closed by a person")
        assert "none open of the last 1 callback" in picture
        assert it.end() == 130


def test_close_says_no_more_than_it_looked_at(orders, invoke, database_url):
    """If no finding can be closed, `payctl close` says only this, and not that nothing is open."""
    orders.pay("COMPLETED").callback().event(state="published")
    text = " ".join(invoke("close", orders.name, "-n", DATABASE_URL=database_url).stdout.split())
    assert text == f"✔ no finding about order {orders.name} can be closed; see its state: payctl show {orders.name}"


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda o: o.pay("COMPLETED").callback().event(state="published"), (0, {"closed": 0}, None)),
        (lambda o: o.pay("COMPLETED").event(state="dead"), (7, {}, None)),
        (lambda o: o.pay(age=2 * HOUR), (7, {}, None)),
    ],
    ids=["nothing is open", "a dead event", "no callback"],
)
def test_what_a_command_can_repair_cannot_be_closed(write, expected, orders, ask, close, content):
    """`payctl close` does not close a finding that a command can repair. It exits with 7 and records nothing."""
    write(orders)
    before, code = content(), ask("show", orders.name)["exit_code"]
    document = close()
    assert (document["exit_code"], document["counts"], document["run_id"]) == expected
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
    """Repeated callbacks about a closed transfer do not count towards the limit on judged orders."""
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
    """If a cleanup deletes a receipt while the report is made, the report leaves it out and raises no error."""
    orders.callback("COMPLETED", "refused", "unknown_order", amount=5)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM payctl.webhook_receipts")
        assert stray(connection, orders.receipts[0]) is None
    assert list(judge_stray(())) == []
