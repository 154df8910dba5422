"""Test that ``payctl reconcile payments`` does not settle a payment after a response that it cannot trust."""

from __future__ import annotations

import time

import pytest

from tests.cli.commands.reconcile.conftest import status_of
from tests.stand_ins import KEYS, STATES

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("gateway", STATES)
def test_reconcile_payments_settles_nothing_if_the_amount_differs(gateway, overdue, reconcile, engine):
    """If the paid amount differs from the payment's amount, `reconcile payments` changes nothing and warns."""
    payment = overdue(gateway, state="paid", paid=1000)
    document = reconcile("--yes")
    assert (document["exit_code"], document["counts"]["refused"]) == (6, 1)
    assert document["items"][0]["reason"] == "wrong_amount"
    assert document["warnings"]
    assert status_of(engine, payment) == ("PENDING", 0, 0)


FORGED = [
    ("payos", lambda it: it["data"].update(amountPaid=1)),
    ("payos", lambda it: it["data"].update(status="PAID", id="another")),
    ("payos", lambda it: it.pop("signature")),
    ("vnpay", lambda it: it.update(vnp_TransactionStatus="00")),
    ("vnpay", lambda it: it.pop("vnp_SecureHash")),
    ("vnpay", lambda it: it.update(vnp_SecureHash=None)),
    ("momo", lambda it: it.update(resultCode=0, orderId="another")),
    ("momo", lambda it: it.update(resultCode=0, requestId="another")),
    ("momo", lambda it: it.update(resultCode=0, partnerCode="ANOTHER")),
    ("momo", lambda it: it.update(resultCode=True)),
    ("zalopay", lambda it: it.update(return_code="yes")),
    ("zalopay", lambda it: it.update(return_code=1, amount="250000.5")),
    ("zalopay", lambda it: it.update(return_code=1, amount=-1)),
]
"""Changes to a gateway's response that payctl must notice."""


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_answer_settles_nothing(forged, gateways, overdue, reconcile, engine):
    """`reconcile payments` settles nothing if a response is tampered with, unsigned, malformed or for another order."""
    gateway, gateways.tamper = forged
    payment = overdue(gateway, state="failed" if "failed" in STATES[gateway] else "expired")
    document = reconcile("--yes")
    assert (document["exit_code"], document["counts"]["no_answer"]) == (6, 1), document["items"]
    assert status_of(engine, payment) == ("PENDING", 0, 0)


def raw(status, body=b"", *headers):
    """Return a handler that sends a response with this status, body and headers."""

    def reply(handler):
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


@pytest.mark.parametrize(
    "hostile",
    [
        (raw(200, b"<html>"), "malformed"),
        (raw(200, b"[]"), "malformed"),
        (raw(200, b"\xff\xfe"), "malformed"),
        (raw(200, b'{"resultCode":0,"resultCode":1}'), "malformed"),
        (raw(200, b"[" * 60_000), "malformed"),
        (raw(200, b'{"a":"' + b"x" * 5_000_000), "malformed"),
        (raw(200), "malformed"),
        (raw(302, b"", ("Location", "http://127.0.0.1:1/")), "query_refused"),
        (raw(403, b"error code: 1010"), "query_refused"),
        (raw(500), "busy"),
        (lambda handler: handler.wfile.write(b"not HTTP\r\n\r\n"), "unreachable"),
        (lambda handler: handler.connection.close(), "unreachable"),
    ],
    ids=["html", "array", "bytes", "twice", "deep", "huge", "empty", "redirect", "403", "500", "no-http", "closed"],
)
def test_a_hostile_answer_settles_nothing(hostile, gateways, overdue, reconcile, engine):
    """`reconcile payments` survives a hostile response without a traceback and changes nothing."""
    payment = overdue("momo")
    gateways.hostile, says = hostile
    document = reconcile("--yes", "--deadline", "15s")
    assert document["items"][0]["says"] == says
    assert document["exit_code"] == (4 if says in {"busy", "unreachable"} else 6)
    assert status_of(engine, payment) == ("PENDING", 0, 0)


def test_a_slow_answer_of_a_gateway_ends_at_the_deadline(gateways, overdue, reconcile):
    """`reconcile payments` stops at its deadline, even if a response arrives byte by byte."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            handler.wfile.write(b" ")
            time.sleep(0.02)

    overdue()
    gateways.hostile = drip
    began = time.monotonic()
    document = reconcile("--yes", "--timeout", "300ms", "--deadline", "1s")
    assert time.monotonic() - began < 5
    assert document["items"][0]["says"] in {"unreachable", "not_asked"}


@pytest.mark.parametrize("variable", [name for name in KEYS if name != "ZALOPAY_KEY2"])
def test_a_wrong_or_missing_key_settles_nothing(variable, overdue, reconcile):
    """If a key is wrong, the gateway refuses the query of `reconcile payments`.

    If a key is missing, payctl does not send the query.
    """
    gateway = variable.partition("_")[0].lower()
    overdue(gateway)
    wrong = reconcile("-n", **{variable: "1111"})
    assert wrong["items"][0]["says"] in {"query_refused", "signature"}
    absent = reconcile("-n", **{variable: ""})
    assert absent["items"][0]["says"] == "off"
    assert variable in absent["items"][0]["detail"]


@pytest.mark.parametrize(("option", "head", "said"), [("-y", "outcome", "refused"), ("-n", "would do", "refuse")])
def test_a_refusal_is_not_called_a_plan(option, head, said, gateways, overdue, invoke, database_url):
    """After a refusal, `reconcile payments -y` says "refused" under "outcome", and names the next command."""
    payment = overdue("zalopay", state="paid", paid=1000)
    environment = {"DATABASE_URL": database_url, **gateways.environment}
    lines = invoke("reconcile", "payments", option, **environment).stdout.splitlines()
    assert lines[1].split("\t")[-1] == head
    assert lines[2].split("\t")[-1] == f"{said}: wrong amount"
    assert f"next\tpayctl show {payment.order_code}" in lines
