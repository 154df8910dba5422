"""Build unsigned callbacks, altered copies of genuine callbacks, and meaningless content with a valid signature."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import product

from tests.fuzz import merchant
from tests.fuzz.draw import LARGEST, Draw, expanded
from tests.fuzz.edits import edited
from tests.fuzz.oracle import is_text, keeps_secrets
from ticketbottle_payctl.domain.callback import Answer, Callback, IgnoredBecause, Outcome, Rejected, Request, Unclear
from ticketbottle_payctl.domain.new_event import event_for
from ticketbottle_payctl.domain.payment import Payment, PaymentStatus
from ticketbottle_payctl.domain.settlement import Transition, settle
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, process_webhook
from ticketbottle_payctl.jobs.verify_signature import verify_signature
from ticketbottle_payctl.providers import GATEWAYS, momo, payload, payos, resolve
from ticketbottle_payctl.sandbox import signing

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GENUINE = {name: merchant.genuine(name) for name in merchant.NAMES}
EXPECTED = {
    name: [GATEWAYS[name].verify(request, merchant.CREDENTIALS[name]) for request in requests]
    for name, requests in GENUINE.items()
}
IN_QUERY = {name: merchant.in_query(name) for name in merchant.NAMES}
SIGNED = {name: [merchant.signed_fields(name, each) for each in requests] for name, requests in GENUINE.items()}
_LONGEST_DETAIL = 100
_SHORT = 4000
_LARGEST_AMOUNT = 10**15


class NoDatabase:
    """A replacement for the engine that fails the check if it is used. A refused callback must not use the database."""

    def __getattr__(self, name: str) -> object:
        message = f"a refused callback reached SQL: {name}"
        raise AssertionError(message)


NO_DATABASE = NoDatabase()


def request_in(data: bytes, largest: int = LARGEST) -> tuple[str, Request]:
    """Return a gateway and a request for this gateway.

    The first byte chooses the gateway, and the remaining bytes are the body or the query.
    """
    name, content = merchant.NAMES[(data[0] - 65 if data else 0) % len(merchant.NAMES)], expanded(data[1:], largest)
    if IN_QUERY[name]:
        return name, Request("GET", "/", content.decode("utf-8", "surrogateescape"))
    return name, Request("POST", "/", "", content)


def forged(data: bytes) -> None:
    """Assert that a request without a valid signature gets the bad-signature reply and does not change any table."""
    name, request = request_in(data)
    report = process_webhook(NO_DATABASE, request, GATEWAYS[name], merchant.CREDENTIALS[name])  # type: ignore[arg-type]
    assert report.outcome is WebhookOutcome.REFUSED
    assert report.reply == GATEWAYS[name].reply(Answer.BAD_SIGNATURE)
    verdict = GATEWAYS[name].verify(request, merchant.CREDENTIALS[name])
    assert isinstance(verdict, Rejected)
    _is_constant(verdict.detail)
    found = resolve(request)
    assert found is None or found.name in GATEWAYS


def altered(data: bytes) -> None:
    """Assert that an altered copy of a genuine callback is refused, or that no signed content was altered."""
    draw = Draw(data, _SHORT)
    name = draw.pick(merchant.NAMES)
    number = draw.byte() % len(GENUINE[name])
    request, expected = edited(GENUINE[name][number], draw), EXPECTED[name][number]
    verdict = GATEWAYS[name].verify(request, merchant.CREDENTIALS[name])
    if isinstance(verdict, Callback):
        assert verdict == expected, (verdict, expected)
        assert merchant.signed_fields(name, request) == SIGNED[name][number]
    elif isinstance(verdict, Unclear):
        assert isinstance(expected, Callback)
        assert verdict.order_ref in {"", expected.order_ref}
        assert verdict.reference in {"", expected.reference}
        _is_constant(verdict.detail)
    else:
        assert isinstance(verdict, Rejected)
        _is_constant(verdict.detail)


def signed(data: bytes) -> None:
    """Assert that validly signed content becomes a valid callback, is kept for the operator, or is refused."""
    name, request = with_signature(data)
    verdict = GATEWAYS[name].verify(request, merchant.CREDENTIALS[name])
    if isinstance(verdict, Callback):
        _is_sound(verdict)
        _decides(name, verdict)
    else:
        _is_constant(verdict.detail)
        if isinstance(verdict, Unclear):
            assert (verdict.order_ref + verdict.reference).isprintable()
            is_text(verdict.order_ref + verdict.reference)


def explained(data: bytes) -> None:
    """Assert that explaining any request neither shows a key nor raises an exception."""
    signs = bool(data) and data[0] >= ord("a")
    name, request = with_signature(data) if signs else request_in(data, _SHORT)
    report = verify_signature(request, GATEWAYS[name], lambda one: merchant.CREDENTIALS[one.name], explain=True)
    said = [report.detail, *report.hints, *(each.fingerprint for each in report.keys)]
    keeps_secrets(" ".join(filter(None, said)))
    assert report.valid or report.hints
    if report.canonical is not None:
        given = (request.query.encode("utf-8", "surrogateescape") + request.body).decode("utf-8", "replace")
        keeps_secrets(report.canonical, given=given)


def with_signature(data: bytes) -> tuple[str, Request]:
    """Return a gateway and a request with any content and a valid signature."""
    name, unsigned = request_in(data, _SHORT)
    content = unsigned.query.encode("utf-8", "replace") if IN_QUERY[name] else unsigned.body
    return name, SIGNERS[name](content.decode("utf-8", "replace"))


def _zalopay(document: str) -> Request:
    return signing.zalopay(document, merchant.KEYS["ZALOPAY_KEY2"])


def _vnpay(query: str) -> Request:
    """Return a query with a signature over its ``vnp_`` parameters, which are sorted by name and not decoded."""
    pairs = sorted(pair for pair in query.split("&") if pair.startswith("vnp_"))
    text = "&".join(pairs)
    return Request("GET", "/", f"{text}&vnp_SecureHash={merchant.signature('vnpay', text)}")


def _payos(document: str) -> Request:
    """Return a body whose data is signed as PayOS's server signs it.

    If payctl cannot print the data, use a wrong signature.
    """
    whole = f'{{"code":"00","data":{document},"signature":"%s"}}'
    try:
        text = payos.signed_text(payos.data_of(payload.read_leniently(whole.encode())))
    except payload.MalformedError:
        text = ""
    return Request(body=whole.replace("%s", merchant.signature("payos", text)).encode())


def _momo(document: str) -> Request:
    body = payload.read_leniently(document.encode())
    try:
        text = momo.pairs_text(body)
    except payload.MalformedError:
        text = ""
    mac = merchant.signature("momo", f"accessKey={merchant.KEYS['MOMO_ACCESS_KEY']}&{text}")
    head, brace, tail = document.rpartition("}")
    return Request(body=f'{head},"signature":"{mac}"{brace}{tail}'.encode())


SIGNERS: dict[str, Callable[[str], Request]] = {"zalopay": _zalopay, "payos": _payos, "vnpay": _vnpay, "momo": _momo}
"""Functions that sign arbitrary content, keyed by gateway."""


def _is_constant(detail: str) -> None:
    """Assert that a detail is one of payctl's own short strings."""
    assert detail.isascii()
    assert detail.isprintable()
    assert len(detail) < _LONGEST_DETAIL
    keeps_secrets(detail)


def _is_sound(callback: Callback) -> None:
    assert callback.amount is None or 0 < callback.amount <= _LARGEST_AMOUNT
    assert callback.reference
    assert callback.currency == "VND"
    assert (callback.outcome is Outcome.IGNORED) == (callback.ignored_because is not None)
    assert callback.amount is not None or callback.ignored_because is IgnoredBecause.AGREEMENT
    for each in fields(callback):
        value = getattr(callback, each.name)
        if isinstance(value, str):
            is_text(value)
            assert not any(character < " " or character == "\x7f" for character in value)


def _decides(name: str, callback: Callback) -> None:
    """Assert that a decision obeys the rules of ``domain/settlement.py`` for every payment state."""
    if callback.outcome is Outcome.IGNORED or callback.amount is None:
        return
    for status, amount in product((*PaymentStatus, "REFUNDED"), (callback.amount, callback.amount + 1)):
        payment = Payment("p-1", merchant.CODE, amount, "VND", name.upper(), callback.reference, status)
        verdict = settle(payment, callback, NOW)
        if isinstance(verdict, Transition):
            assert amount == callback.amount
            assert status is not PaymentStatus.COMPLETED
            assert verdict.after.value == callback.outcome.value
            json.dumps(event_for(payment, verdict.after, verdict.at, "e-1").payload)
        other = replace(payment, provider="other")
        assert not isinstance(settle(other, callback, NOW), Transition)
