"""Test that a person can close an overdue payment that no status query settles, and that later callbacks count."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.cli.commands.reconcile.conftest import HOUR, RECONCILE, status_of
from tests.cli.commands.show.conftest import Orders
from tests.stand_ins import KEYS
from ticketbottle_payctl.jobs.order import close_findings, find_open
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, process_webhook
from ticketbottle_payctl.providers import by_name
from ticketbottle_payctl.providers.samples import sample
from ticketbottle_payctl.sandbox import signing
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun

pytestmark = pytest.mark.postgres
WHY = "looked in the portal: the customer never paid"
OLD = timedelta(hours=49)


@pytest.fixture
def ask_with_keys(ask, gateways):
    """Return a function that runs a command with the gateways' keys and addresses and returns the document."""
    return lambda *arguments, **environment: ask(*arguments, **{**gateways.environment, **environment})


@pytest.fixture
def close(ask_with_keys):
    """Return a function that closes an order and returns the document."""
    return lambda order, *options, **environment: ask_with_keys(
        "close", order, "-y", "--reason", WHY, *options, PAYCTL_ACTOR="Lan", **environment
    )


@pytest.fixture
def first_lines(invoke, gateways, database_url):
    """Return a function that runs `reconcile payments` and returns the lines of its output."""

    def run(*arguments):
        result = invoke(*RECONCILE, *arguments, DATABASE_URL=database_url, **gateways.environment)
        return result.stdout.splitlines()

    return run


def test_a_payment_that_the_gateway_does_not_know_needs_a_person(overdue, reconcile, first_lines):
    """`reconcile payments` counts payments that the gateway does not know separately, and names the next step.

    The exit code is 6.
    """
    overdue(reference="waits")
    overdue(reference="unheard", state="unknown", age=2 * HOUR)
    document = reconcile("-n")
    assert document["exit_code"] == 6
    assert (document["counts"]["pending"], document["counts"]["not_found"]) == (1, 1)
    lines = first_lines()
    assert lines[0] == "!  2 payments  1 pending  1 not found"
    assert "look for order TB-unheard in the gateway's portal, then record what you found" in " ".join(lines)
    assert lines[-1] == "  payctl close TB-unheard --reason TEXT"


@pytest.mark.parametrize(("provider", "state", "age"), [("momo", "unknown", HOUR), ("zalopay", "paid", OLD)])
def test_a_closed_payment_is_counted_apart_everywhere(
    provider, state, age, overdue, reconcile, close, ask_with_keys, engine, first_lines
):
    """After `payctl close`, no command counts the payment as overdue, and the payment is still PENDING."""
    payment = overdue(provider, reference="261120_1", state=state, age=age)
    closed = close(payment.order_code)
    assert (closed["exit_code"], closed["counts"]) == (0, {"closed": 1})
    counts = reconcile("--yes")["counts"]
    assert (counts["closed"], counts["not_found"], counts["too_old"], counts["for_a_person"]) == (1, 0, 0, 0)
    assert reconcile("--yes")["exit_code"] == 0
    assert reconcile(payment.order_code)["exit_code"] == 0
    first = first_lines()[0]
    assert (first[0], "1 closed by an operator" in first) == ("✔", True)
    shown = ask_with_keys("show", payment.order_code)
    assert (shown["exit_code"], shown["result"]["next"]) == (0, [])
    assert (shown["result"]["verdict"]["kind"], shown["result"]["verdict"]["mark"]) == ("no_callback", "good")
    assert f"by Lan: {WHY}" in shown["result"]["verdict"]["text"]
    report = ask_with_keys("report", "--since", "3d")["result"]
    assert report["verdict"].endswith("1 overdue payment was closed by an operator.")
    assert report["verdict"].startswith("Nothing is open: ")
    (finding,) = [
        each for each in ask_with_keys("doctor", "--only", "payments")["items"] if each["check"] == "payments"
    ]
    assert finding["status"] == "ok"
    assert finding["fact"] == "no payment from the last 7 days is overdue; 1 closed by an operator"
    assert status_of(engine, payment) == ("PENDING", 0, 0)


def test_the_record_of_a_closed_payment_says_who_looked_and_what_the_gateway_said(overdue, close, ask_with_keys):
    """`runs show` names the person, the time, the reason and the gateway's answer."""
    payment = overdue(state="unknown")
    shown = ask_with_keys("runs", "show", close(payment.order_code)["run_id"])
    assert (shown["result"]["reason"], shown["result"]["actor"]) == (WHY, "Lan")
    (row,) = shown["items"]
    assert (row["id"], row["outcome"], row["reason"]) == (payment.id, "closed", "no_callback")
    assert row["before"]["gateway_says"] == "not_found"


REFUSED = {
    "paid": ("paid", {}, "payctl reconcile payments TB-order-1"),
    "failed": ("failed", {}, "payctl reconcile payments TB-order-1"),
    "pending": ("pending", {}, "payctl reconcile payments TB-order-1 -n"),
    "refunded": ("refunded", {}, "decide in the gateway's portal"),
    "undocumented": ("odd", {}, "decide in the gateway's portal"),
    "no keys": ("unknown", dict.fromkeys(KEYS, ""), "where the gateway's keys are set"),
    "unreachable": ("unknown", {"PAYCTL_MOMO_URL": "http://127.0.0.1:1"}, "ask again later"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_payment_is_closed_only_if_the_gateway_does_not_know_it(name, overdue, close, content):
    """If the gateway knows the payment, or has no keys, `payctl close` exits with 7 and changes nothing.

    If the gateway does not answer, `payctl close` exits with 4 and changes nothing.
    """
    state, environment, hint = REFUSED[name]
    payment = overdue(state=state)
    before = content()
    document = close(payment.order_code, **environment)
    assert document["exit_code"] == (4 if name == "unreachable" else 7), document
    assert hint in document["error"]["hint"]
    assert content() == before


def test_a_young_payment_cannot_be_closed(overdue, close, gateways):
    """`payctl close` does not close a payment that the customer may still be paying, and does not ask the gateway."""
    payment = overdue(state="unknown", age=timedelta(minutes=5))
    assert close(payment.order_code)["exit_code"] == 7
    assert gateways.asked == []


def test_a_young_payment_that_the_gateway_does_not_know_needs_no_person_yet(overdue, reconcile, first_lines):
    """If a named payment is not overdue, `reconcile payments` exits with 0 and advises no closing record."""
    payment = overdue(state="unknown", age=timedelta(minutes=5))
    document = reconcile(payment.order_code)
    assert (document["exit_code"], document["counts"]["not_found"]) == (0, 1)
    assert "payctl close" not in "".join(first_lines(payment.order_code))


def test_a_gateway_that_payctl_does_not_know_cannot_be_asked(overdue, close, ask_with_keys):
    """A payment of an unknown gateway can be closed, because no command can ever ask about it."""
    payment = overdue("stripe", state="unknown")
    assert close(payment.order_code)["counts"] == {"closed": 1}
    assert ask_with_keys("show", payment.order_code)["exit_code"] == 0


def test_a_dry_run_of_close_asks_and_records_nothing(overdue, close, gateways, content):
    """With -n, `payctl close` asks the gateway, counts the payment and records nothing."""
    payment = overdue(state="unknown")
    before = content()
    assert close(payment.order_code, "-n")["counts"] == {"closed": 1}
    assert (content(), len(gateways.asked)) == (before, 1)


def test_show_names_the_close_command_of_an_overdue_payment(overdue, invoke, gateways, database_url):
    """`payctl show` names both steps: ask the gateway, and close the payment if the gateway does not know it."""
    payment = overdue(state="unknown")
    text = invoke("show", payment.order_code, DATABASE_URL=database_url, **gateways.environment).stdout
    assert f"payctl reconcile payments {payment.order_code}" in text
    assert "if the gateway does not know the payment, look in its portal" in " ".join(text.split())
    assert f"payctl close {payment.order_code} --reason TEXT" in text


def test_reconcile_settles_a_closed_payment(overdue, reconcile, close, engine, gateways, ask_with_keys, mock_kafka):
    """If the gateway reports a closed payment as paid later, payctl settles it, and its event can be published."""
    payment = overdue(state="unknown")
    close(payment.order_code)
    gateways.states[payment.reference] = "paid"
    document = reconcile("--yes")
    assert (document["counts"]["settled"], document["counts"]["closed"]) == (1, 0)
    assert status_of(engine, payment) == ("COMPLETED", 1, 1)
    assert ask_with_keys("show", payment.order_code)["exit_code"] == 5  # the payment's event has not been sent yet
    published = ask_with_keys("publish-outbox", KAFKA_BROKERS=mock_kafka.bootstrap)
    assert published["counts"]["published"] == 1
    assert ask_with_keys("show", payment.order_code)["result"]["verdict"]["kind"] == "published"


def test_a_genuine_callback_settles_a_closed_payment(overdue, close, engine, ask_with_keys, mock_kafka):
    """A callback that arrives after the closing settles the payment and writes its event."""
    callback = sample("momo")
    data = json.loads(callback.request.body)
    payment = overdue(reference=data["orderId"], state="unknown", amount=data["amount"], order_code="TB-late")
    close("TB-late")
    report = process_webhook(engine, callback.request, by_name("momo"), callback.credentials)
    assert report.outcome is WebhookOutcome.SETTLED
    assert status_of(engine, payment)[:2] == ("COMPLETED", 1)
    published = ask_with_keys("publish-outbox", KAFKA_BROKERS=mock_kafka.bootstrap)
    assert published["counts"]["published"] == 1
    shown = ask_with_keys("show", "TB-late")["result"]
    assert [each["kind"] for each in (shown["verdict"], *shown["also"])] == ["published"]


def test_a_refused_callback_after_the_closing_is_a_new_finding(overdue, close, engine, ask_with_keys):
    """If a callback with a wrong amount arrives after `payctl close`, `show` and `report` show the order as open."""
    callback = sample("momo")
    data = json.loads(callback.request.body)
    overdue(reference=data["orderId"], state="unknown", amount=data["amount"] + 1, order_code="TB-wrong")
    close("TB-wrong")
    process_webhook(engine, callback.request, by_name("momo"), callback.credentials)
    shown = ask_with_keys("show", "TB-wrong")
    assert (shown["exit_code"], shown["result"]["verdict"]["kind"]) == (5, "wrong_amount")
    (order,) = ask_with_keys("report", "--since", "3h")["result"]["orders"]
    assert order["order_code"] == "TB-wrong"


def test_a_new_answer_of_the_gateway_is_not_hidden(overdue, reconcile, close, gateways):
    """If the gateway later reports a closed payment as refunded, `reconcile payments` no longer counts it as closed."""
    payment = overdue(state="unknown")
    close(payment.order_code)
    gateways.states[payment.reference] = "refunded"
    document = reconcile("-n")
    assert (document["exit_code"], document["counts"]["for_a_person"], document["counts"]["closed"]) == (6, 1, 0)


def test_the_printed_close_command_works(overdue, first_lines, ask_with_keys):
    """The `payctl close` command that `reconcile payments` prints closes the payment, with the reason filled in."""
    overdue(state="unknown")
    command = shlex.split(first_lines()[-1].replace("TEXT", "looked"))
    assert ask_with_keys(*command[1:], "-y")["counts"] == {"closed": 1}
    assert first_lines()[0] == "✔  1 payment  1 closed by an operator"


@pytest.fixture
def call_back(engine):
    """Return a function that processes a MoMo callback about a reference.

    The function's keyword arguments replace fields of the callback.
    """

    def run(reference, **changes):
        momo = sample("momo")
        fields = {**json.loads(momo.request.body), "orderId": reference, "amount": 250_000, **changes}
        keys = {name: each[0].reveal() for name, each in momo.credentials.items()}
        request = signing.momo(fields, keys["access_key"], keys["secret_key"])
        return process_webhook(engine, request, by_name("momo"), momo.credentials).reason

    return run


CALLBACKS = {"pending": {"resultCode": 7002}, "undocumented_code": {"resultCode": 98765}, "wrong_amount": {"amount": 5}}


@pytest.fixture
def state_of(invoke, gateways, database_url):
    """Return a function that returns the exit code of `reconcile payments`, which is 6 if the payment is open.

    The function fails if `show` or `report` disagrees.
    """

    def run(code):
        environment = {"DATABASE_URL": database_url, **gateways.environment}
        reconciled = invoke(*RECONCILE, "--rate", "1000/s", **environment)
        shown = invoke("show", code, **environment)
        assert (reconciled.exit_code, shown.exit_code) in {(0, 0), (6, 5)}, (reconciled.stdout, shown.stdout)
        assert (reconciled.stdout[0] == "!") is bool(reconciled.exit_code)
        assert (f"payctl close {code}" in reconciled.stdout) is bool(reconciled.exit_code)
        reported = invoke("report", "--since", "3h", **environment).stdout
        assert reported.startswith("# ✔") is not bool(reconciled.exit_code), reported
        return reconciled.exit_code

    return run


@pytest.mark.parametrize("reason", CALLBACKS)
@pytest.mark.parametrize("closed_before", [False, True])
def test_the_advised_close_command_ends_the_advice(reason, closed_before, overdue, close, call_back, state_of):
    """If `reconcile payments` advises `payctl close`, this command closes the payment.

    After that, `reconcile payments` exits with 0, even if a callback arrived after an earlier closing.
    """
    payment = overdue(state="unknown")
    if closed_before:
        assert close(payment.order_code)["counts"] == {"closed": 1}
        assert state_of(payment.order_code) == 0
    assert call_back(payment.reference, **CALLBACKS[reason]) == reason
    assert state_of(payment.order_code) == 6
    assert close(payment.order_code)["counts"] == {"closed": 1}
    assert state_of(payment.order_code) == 0


def test_a_payment_too_old_for_a_query_is_closed_with_its_callback(overdue, close, engine, ask_with_keys, reconcile):
    """If a person closes an old payment with an unreadable callback, `reconcile payments` counts it as closed."""
    payment = overdue("zalopay", reference="261120_1", age=OLD)
    orders = Orders(engine)
    orders.payment = payment
    orders.unclear("unreadable", provider="zalopay")
    document = reconcile("--yes")
    assert (document["exit_code"], document["counts"]["too_old"]) == (6, 1)
    assert close(payment.order_code)["counts"] == {"closed": 1}
    document = reconcile("--yes")
    assert (document["exit_code"], document["counts"]["too_old"], document["counts"]["closed"]) == (0, 0, 1)
    assert ask_with_keys("show", payment.order_code)["exit_code"] == 0


def test_a_callback_that_arrives_during_the_prompt_keeps_the_payment_open(overdue, call_back, engine, state_of):
    """A callback that arrives after `payctl close` has read the findings keeps the payment open."""
    payment = overdue(state="unknown")
    found = find_open(engine, payment.order_code, max_retries=5, now=datetime.now(UTC))
    call_back(payment.reference, resultCode=9000)
    close_findings(engine, replace(found, answer="not_found"), NewRun(str(uuid4()), "close", Actor("me", "here")))
    assert state_of(payment.order_code) == 6


def test_a_list_of_stuck_payments_marks_the_closed_one(overdue, close, ask_with_keys, invoke, database_url):
    """`list payments --stuck` says which payments a person has closed, also in its first line."""
    overdue("momo", reference="open", state="waits", age=2 * HOUR)
    payment = overdue("momo", reference="261120_1", state="unknown", age=HOUR)
    close(payment.order_code)
    rows = ask_with_keys("list", "payments", "--stuck")["items"]
    assert {row["order_code"]: (row["status"], row["closed"]) for row in rows} == {
        payment.order_code: ("PENDING", True),
        "TB-open": ("PENDING", False),
    }
    listed = invoke("list", "payments", "--stuck", DATABASE_URL=database_url)
    assert "2 payments: 1 closed by an operator, 1 PENDING" in listed.stderr
