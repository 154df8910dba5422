"""Test `payctl close`, which closes the findings that an operator has dealt with."""

from __future__ import annotations

import pytest

from tests.cli.commands.show.findings_to_close import CASES, DONE, HOUR, NOW, wrong

pytestmark = pytest.mark.postgres


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

    An open finding might make an operator refund the transfer twice.
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
    """Given the id of a callback without an order code, `payctl close` closes only this callback's finding."""
    orders.unclear("unreadable", order_ref="")
    orders.unclear("unreadable", order_ref="", body=b"another callback")
    assert close()["counts"] == {"closed": 1}
    assert [ask("show", each)["exit_code"] for each in orders.receipts] == [0, 5]
    (order,) = ask("report", "--since", "3h")["result"]["orders"]
    assert order["id"] == orders.receipts[1]


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


def test_close_names_what_it_cannot_close(orders, invoke, database_url):
    """If only a command can repair the order, `payctl close` says so, and suggests `payctl show`."""
    orders.pay("COMPLETED").event(state="dead")
    result = invoke("close", orders.name, "-n", DATABASE_URL=database_url)
    assert result.exit_code == 7
    assert "nothing was closed: no open finding about this order can be closed by a person" in " ".join(
        result.stderr.split()
    )
    assert f"try: payctl show {orders.name}" in result.stderr


def test_close_says_no_more_than_it_looked_at(orders, invoke, database_url):
    """If no finding can be closed, `payctl close` says only that, and does not claim that nothing is open."""
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
    """If a command can repair what a finding reports, `payctl close` exits with 7 and records nothing."""
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
