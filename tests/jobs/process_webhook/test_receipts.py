"""Test that each genuine callback leaves a receipt with its request and the decision, and a forgery leaves none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from tests.jobs.process_webhook.conftest import keys_of
from tests.stand_ins import WITHOUT_ORDER_CODES
from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.jobs.process_webhook import Trace
from ticketbottle_payctl.providers import GATEWAYS, by_name
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl import receipts

TRACE = Trace("request-1", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")
SETTLED_COLUMNS = {"status", "updatedAt", "completedAt"}
FORGERIES = {
    "another key": lambda request: request,
    "no body": lambda request: replace(request, body=b"", query=""),
    "truncated": lambda request: replace(request, body=request.body[:-30], query=request.query[:-30]),
    "byte order mark": lambda request: replace(request, body=b"\xef\xbb\xbf" + request.body, query="\ufeffvnp_x=1"),
    "utf-16": lambda request: replace(request, body=request.body.decode().encode("utf-16"), query="vnp_%FF%FE=1"),
    "an array": lambda request: replace(request, body=b"[1, 2]", query="&&&==&"),
    "nested deep": lambda request: replace(request, body=b'{"data":' + b"[" * 30_000, query="vnp_" * 9_000),
    "too large": lambda request: replace(request, body=b'{"data":"' + b"x" * 65_536 + b'"}', query="x" * 65_537),
}


def stored(receipt_id, engine):
    """Return the request that a receipt stores."""
    with transaction(engine, Limits()) as connection:
        return receipts.find_request(connection, receipt_id)


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_receipt_has_the_request_and_the_decision(shop, provider):
    """A receipt contains the callback's bytes, digest, ids and amount, and the decision, payment, event and trace."""
    payment = shop.payment(provider, amount=123_000)
    request = callback(payment)
    report = shop.process(request, trace=TRACE)
    (receipt,) = shop.receipts()
    content = request.body or request.query.encode()
    assert bytes(receipt.pop("body")) == request.body
    assert bytes(receipt.pop("body_sha256")) == sha256(content).digest()
    assert abs(receipt.pop("received_at") - shop.now()) < timedelta(seconds=30)
    names = ("gateway_transaction_id", "payment_number", "order_ref")
    verified = by_name(provider).verify(request, keys_of(provider))
    ids = {name: receipt.pop(name) for name in names}
    assert ids == {name: getattr(verified, name) for name in names}
    assert all(ids.values())
    assert (ids["order_ref"] == payment.order_code) is (provider not in WITHOUT_ORDER_CODES)
    assert str(receipt.pop("id")) == report.receipt_id
    assert receipt == {
        "provider": provider,
        "reference": payment.reference,
        "amount": 123_000,
        "currency": "VND",
        "outcome": "COMPLETED",
        "result": "settled",
        "reason": None,
        "method": request.method,
        "path": f"/webhook/{provider}",
        "query": request.query,
        "payment_id": payment.id,
        "event_id": report.event.id,
        "correlation_id": TRACE.correlation_id,
        "traceparent": TRACE.traceparent,
    }


@pytest.mark.parametrize(
    ("scenario", "result", "reason", "has_payment"),
    [
        (Scenario.PAID, "already_settled", None, True),
        (Scenario.WRONG_AMOUNT, "refused", "wrong_amount", True),
        (Scenario.FAILED, "refused", "contradicts_completed", True),
        (Scenario.HELD, "ignored", "held", False),
    ],
)
def test_every_genuine_callback_leaves_one_receipt(shop, scenario, result, reason, has_payment):
    """A genuine callback that changes nothing leaves one receipt with a reason and without an event."""
    payment = shop.payment("vnpay")
    shop.process(payment)
    report = shop.process(payment, scenario)
    _, receipt = shop.receipts()
    assert (receipt["result"], receipt["reason"], receipt["event_id"]) == (result, reason, None)
    assert receipt["payment_id"] == (payment.id if has_payment else None)
    assert str(receipt["id"]) == report.receipt_id


@pytest.mark.parametrize("provider", list(GATEWAYS))
@pytest.mark.parametrize("forgery", list(FORGERIES))
def test_a_forged_callback_leaves_no_receipt(shop, provider, forgery):
    """A forged callback does not change a row in any table."""
    payment = shop.payment(provider)
    before = shop.tables()
    report = shop.process(FORGERIES[forgery](callback(payment, Scenario.BAD_SIGNATURE)), trace=TRACE)
    assert (report.outcome.value, report.receipt_id, report.event) == ("refused", None, None)
    assert shop.tables() == before


def test_a_callback_at_another_gateway_s_path_is_refused(shop):
    """`payctl` refuses a genuine callback that arrives at a different gateway's path."""
    request = callback(shop.payment("zalopay"))
    before = shop.tables()
    outcomes = {shop.process(request, provider=other).outcome.value for other in GATEWAYS.keys() - {"zalopay"}}
    assert outcomes == {"refused"}
    assert shop.tables() == before


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_settling_changes_three_columns(shop, provider):
    """Settling a payment changes only its status and two timestamps."""
    payment = shop.payment(provider, metadata={"seat": "A1"})
    before = shop.row(payment)
    shop.process(payment)
    after = shop.row(payment)
    assert {name for name in before if before[name] != after[name]} == SETTLED_COLUMNS
    assert after["updatedAt"] == after["completedAt"]
    assert after["providerTransactionId"] == payment.reference


def test_correlation_id_and_traceparent_are_stored_with_the_event(shop):
    """`payctl` stores a callback's correlation id and traceparent with its event."""
    report = shop.process(shop.payment(), trace=TRACE)
    (context,) = shop.query("SELECT * FROM payctl.event_context")
    assert context == {
        "event_id": report.event.id,
        "correlation_id": TRACE.correlation_id,
        "traceparent": TRACE.traceparent,
        "replay_run_id": None,
    }


def test_a_callback_without_a_trace_writes_no_context_row(shop):
    """If a callback has no trace or does not write an event, payctl does not store a context."""
    payment = shop.payment()
    shop.process(payment)
    shop.process(payment, trace=TRACE)
    assert shop.query("SELECT * FROM payctl.event_context") == []
    assert [receipt["correlation_id"] for receipt in shop.receipts()] == [None, TRACE.correlation_id]


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_stored_request_can_be_processed_again(shop, provider):
    """The request in a receipt equals the received request, and payctl can process it again."""
    request = callback(shop.payment(provider))
    first = shop.process(request)
    again = stored(first.receipt_id.upper(), shop.engine)
    assert (again.provider, again.request) == (provider, request)
    assert shop.process(again.request, provider=again.provider).outcome.value == "already_settled"


@pytest.mark.parametrize("receipt_id", ["", "1", "' OR true --", "\x00", "é", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_receipt_id_returns_none(shop, receipt_id):
    """If no receipt has the given id, find_request returns None."""
    shop.process(shop.payment())
    assert stored(receipt_id, shop.engine) is None


def test_invalid_unsigned_text_does_not_stop_a_genuine_callback(shop):
    """NUL and invalid characters in a genuine callback's unsigned text are harmless, and the receipt replaces them."""
    payment = shop.payment("vnpay")
    signed = callback(payment)
    bad = "\x00\ud800"
    request = Request(f"GET{bad}", f"/webhook{bad}/vnpay", f"utm={bad}&{signed.query}")
    report = shop.process(request, trace=Trace(bad, bad))
    (receipt,) = shop.receipts()
    assert report.outcome.value == "settled"
    assert receipt["query"] == f"utm=\ufffd?&{signed.query}"
    assert stored(report.receipt_id, shop.engine).request.query.endswith(signed.query)
