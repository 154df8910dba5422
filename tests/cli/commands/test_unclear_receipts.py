"""Test ``process-webhook --receipt`` with genuine but unclear callbacks, and the later settlement of their payments.

Each callback is signed by its gateway's rules and stored in PostgreSQL. Test servers answer the status queries.
"""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.providers.conftest import AMBIGUOUS
from tests.stand_ins import KEYS, Gateways, reference_of, serving
from ticketbottle_payctl.domain.callback import Unclear, UnclearReason
from ticketbottle_payctl.formats import gateway_name
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.altering import alter
from ticketbottle_payctl.sandbox.callbacks import callback
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.store.payctl import receipts
from ticketbottle_payctl.store.payctl.receipts import Receipt

pytestmark = pytest.mark.postgres

UNREADABLE = {
    "zalopay": ("data.amount", "x"),
    "payos": ("data.amount", "x"),
    "vnpay": ("vnp_Amount", "x"),
    "momo": ("amount", "x"),
}
UNCLEAR = [
    *[(name, UnclearReason.UNREADABLE, change) for name, change in UNREADABLE.items()],
    *[(name, UnclearReason.AMBIGUOUS, change) for name, change in AMBIGUOUS.items() if change is not None],
]
EVERY_UNCLEAR = pytest.mark.parametrize(
    ("gateway", "reason", "change"), UNCLEAR, ids=[f"{name}-{reason}" for name, reason, _ in UNCLEAR]
)


@pytest.fixture
def pending(engine):
    """Return a function that inserts a PENDING payment of the given gateway. The payment is one hour old."""

    def make(gateway):
        order = f"TB-ROCK-20261123-{uuid4().hex[:8].upper()}"
        with engine.begin() as connection:
            return insert_payment(
                connection,
                provider=gateway.upper(),
                order_code=order,
                reference=reference_of(gateway, order),
                age=timedelta(hours=1),
            )

    return make


@pytest.fixture
def arrive(ask, tmp_path):
    """Return a function that passes a callback to ``process-webhook`` and returns the document."""

    def send(request, gateway):
        file = tmp_path / "callback"
        file.write_bytes(request.body or request.query.encode())
        return ask("process-webhook", str(file), "--provider", gateway, **KEYS)

    return send


@pytest.fixture
def settle(ask):
    """Return a function that processes a stored callback again and returns the document."""
    return lambda receipt, *options: ask("process-webhook", "--receipt", receipt, *options, **KEYS)


def row_of(engine, payment):
    """Return the payment's status and the types of the payment's events."""
    with engine.connect() as connection:
        status = connection.exec_driver_sql("SELECT status::text FROM payments WHERE id = %s", (payment.id,)).scalar()
        events = connection.exec_driver_sql('SELECT "eventType" FROM outbox WHERE "aggregateId" = %s', (payment.id,))
        return status, list(events.scalars())


def unclear(payment, gateway, change):
    """Return a callback for the payment that is genuine but too ambiguous for payctl to settle the payment."""
    return alter(callback(payment, environ=KEYS), gateway, [change], KEYS)


@pytest.mark.parametrize("reason", UnclearReason)
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_receipt_that_payctl_can_read_now_is_settled(gateway, reason, pending, settle, engine):
    """A callback that was stored as unclear settles its payment exactly once when payctl can finally read it."""
    payment = pending(gateway)
    receipt = Receipt(
        str(uuid4()),
        Unclear(gateway, reason, "an older payctl could not read this"),
        callback(payment, environ=KEYS),
        "refused",
        reason.value,
    )
    with engine.begin() as connection:
        receipts.store(connection, receipt)
    document = settle(receipt.id[:8])
    assert (document["exit_code"], document["result"]["outcome"]) == (0, "settled")
    assert (document["result"]["payment_id"], document["result"]["detail"]) == (payment.id, None)
    assert row_of(engine, payment) == ("COMPLETED", ["PAYMENT_COMPLETED"])
    assert settle(receipt.id)["result"]["outcome"] == "already_settled"
    assert row_of(engine, payment) == ("COMPLETED", ["PAYMENT_COMPLETED"])


@EVERY_UNCLEAR
def test_an_unclear_callback_is_kept_with_the_payment_that_it_names(
    gateway, reason, change, pending, arrive, ask, engine
):
    """`payctl show ORDER` finds an unclear callback, because the callback's receipt has the order code."""
    payment = pending(gateway)
    document = arrive(unclear(payment, gateway, change), gateway)
    result = document["result"]
    assert (document["exit_code"], result["outcome"], result["reason"]) == (5, "refused", reason)
    assert (result["alert"], result["order_code"]) == (reason, payment.order_code)
    assert result["detail"]
    assert row_of(engine, payment) == ("PENDING", [])
    shown = ask("show", payment.order_code, **KEYS)["result"]
    assert shown["verdict"]["kind"] == reason
    assert f"payctl reconcile payments {payment.order_code}" in [each["command"] for each in shown["next"]]


@EVERY_UNCLEAR
@pytest.mark.parametrize("options", [(), ("-n",)], ids=["for real", "dry run"])
def test_a_receipt_that_is_still_unclear_changes_nothing(
    gateway, reason, change, options, pending, arrive, settle, content
):
    """If a stored callback is still unclear, process-webhook exits with 5 and gives the reason.

    The command writes nothing except the record of its run.
    """
    receipt = arrive(unclear(pending(gateway), gateway, change), gateway)["result"]["receipt_id"]
    before = content()
    document = settle(receipt, *options)
    result = document["result"]
    assert (document["exit_code"], result["outcome"], result["reason"]) == (5, "refused", reason)
    assert (result["receipt_id"], result["status_before"], result["status_after"]) == (receipt, "PENDING", "PENDING")
    assert "payctl reconcile payments" in document["warnings"][0]
    after = content()
    changed = {table for table, rows in after.items() if rows != before[table]}
    assert changed == (set() if options else {"payctl.runs", "payctl.run_items"})


@EVERY_UNCLEAR
def test_the_command_that_an_unclear_receipt_advises_settles_the_payment(
    gateway, reason, change, pending, arrive, invoke, engine, database_url
):
    """For an unclear receipt, process-webhook suggests a command that queries the gateway and settles the payment."""
    payment = pending(gateway)
    receipt = arrive(unclear(payment, gateway, change), gateway)["result"]["receipt_id"]
    with serving(Gateways()) as served:
        served.states[payment.reference], served.amounts[payment.reference] = "paid", payment.amount
        places = {"DATABASE_URL": database_url, **served.environment}
        refused = invoke("process-webhook", "--receipt", receipt, **places)
        assert (
            refused.stdout.splitlines()[0]
            == f"✘ refused:  {gateway_name(gateway)}  {reason}  order {payment.order_code}"
        )
        program, *command = shlex.split(re.findall(r"next +(payctl .*)", refused.stdout)[0])
        settled = invoke(*command, "--yes", **places)
        again = invoke("process-webhook", "--receipt", receipt, **places)
    assert (refused.exit_code, program, settled.exit_code) == (5, "payctl", 0)
    assert row_of(engine, payment) == ("COMPLETED", ["PAYMENT_COMPLETED"])
    assert (again.exit_code, "next" in again.stdout) == (5, False)


@EVERY_UNCLEAR
def test_the_doctor_prints_the_command_that_settles_an_unclear_receipt(
    gateway, reason, change, pending, arrive, invoke, database_url
):
    """The doctor reports an unclear receipt as a failure, and suggests a command that settles the payment.

    After that command, the doctor no longer reports a problem.
    """
    payment = pending(gateway)
    arrive(unclear(payment, gateway, change), gateway)
    with serving(Gateways()) as served:
        served.states[payment.reference], served.amounts[payment.reference] = "paid", payment.amount
        places = {"DATABASE_URL": database_url, **served.environment}
        failed = invoke("doctor", "--only", "callbacks", **places)
        command = shlex.split(re.findall(r"payctl (reconcile .*)", failed.stdout)[0])
        settled = invoke(*command, "--yes", **places)
    assert (failed.exit_code, failed.stdout.startswith("✘"), settled.exit_code) == (5, True, 0)
    assert re.search(rf"1 genuine callback settled nothing; the oldest arrived \d+ m?s ago: 1 {reason}", failed.stdout)
    assert invoke("doctor", "--only", "callbacks", **places).exit_code == 0


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_unclear_callback_names_no_payment_of_another_gateway(gateway, pending, arrive, engine):
    """An unclear callback is never linked to a different gateway's payment, even if the order codes are equal."""
    payment = pending(gateway)
    other = "VNPAY" if gateway != "vnpay" else "MOMO"
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payments SET provider = %s", (other,))
    result = arrive(unclear(payment, gateway, UNREADABLE[gateway]), gateway)["result"]
    assert (result["reason"], result["payment_id"], result["order_code"]) == ("unreadable", None, None)


def test_an_unclear_callback_without_a_name_finds_no_payment(pending, arrive, engine):
    """A callback without a readable order reference is not linked to a payment with an empty reference."""
    payment = pending("momo")
    with engine.begin() as connection:
        connection.exec_driver_sql("""UPDATE payments SET "providerTransactionId" = '' """)
    nameless = alter(callback(payment, environ=KEYS), "momo", [("orderId", "")], KEYS)
    result = arrive(nameless, "momo")["result"]
    assert (result["reason"], result["payment_id"]) == ("unreadable", None)
