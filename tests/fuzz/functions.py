"""Check API Gateway events and headers as the webhook function receives them."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from lambda_entrypoints import http_api, webhook
from tests.fuzz.draw import Draw
from tests.fuzz.oracle import KEYS, PASSWORD, SECRET, keeps_secrets
from ticketbottle_payctl.aws.xray import traceparent_of
from ticketbottle_payctl.providers import GATEWAYS

NOWHERE = f"postgresql://shop:{PASSWORD}@127.0.0.1:1/payments"
ENVIRONMENT = {**KEYS, "DATABASE_URL": NOWHERE, "ENVIRONMENT": "test"}
PATHS = (*(f"/prod/webhook/{gateway.spellings[-1]}/" for gateway in GATEWAYS.values()), "/", "")
FIELDS = ("version", "rawPath", "rawQueryString", "requestContext", "headers", "body", "isBase64Encoded", "cookies")
_OWN_REPLIES = {400, 404, 413, 503}
_CORRELATION_ID = re.compile(r"[!-~]{1,128}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


def events(data: bytes) -> None:
    """Assert that the webhook function answers any event and prints only JSON lines without secrets."""
    event = event_in(data)
    printed = io.StringIO()
    with _environment(), redirect_stdout(printed), redirect_stderr(printed):
        answer = webhook.handler(event, None)
    assert type(answer["statusCode"]) is int
    assert type(answer["body"]) is str
    json.dumps(answer)
    text = printed.getvalue()
    for line in text.splitlines():
        assert isinstance(json.loads(line), dict)
    keeps_secrets(text + answer["body"], given=SECRET)
    assert "webhook_settled" not in text
    assert '"return_code":1' not in answer["body"]
    assert '"RspCode":"00"' not in answer["body"]
    assert answer["statusCode"] in _OWN_REPLIES or json.loads(answer["body"])


@contextmanager
def _environment() -> Iterator[None]:
    """Replace this process's environment variables with those of the Lambda function, until the ``with`` block ends.

    Replacing ``os.environ`` as a whole is faster than setting each variable.
    """
    kept, os.environ = os.environ, ENVIRONMENT  # type: ignore[assignment]
    try:
        yield
    finally:
        os.environ = kept  # noqa: B003 - restores the process's own object


def event_in(data: bytes) -> object:
    """Return an event. If the input is JSON, it is the event. Otherwise, draw the event from the input's bytes."""
    if data[:1] in {b"{", b"[", b'"'}:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            pass
    draw = Draw(data)
    event: dict[str, object] = {
        "version": "2.0",
        "rawPath": draw.pick(PATHS) if draw.flag() else draw.text(),
        "rawQueryString": draw.text(),
        "requestContext": {"http": {"method": draw.pick(("POST", "GET"))}, "requestId": draw.text()},
        "headers": {"x-correlation-id": draw.text(), "user-agent": "payctl-probe" if draw.flag() else ""},
        "isBase64Encoded": draw.flag(),
        "body": draw.text(),
    }
    while draw.left:
        name = draw.pick(FIELDS)
        event[name] = draw.value()
    return event


def headers(data: bytes) -> None:
    """Assert that a header value for logs, rows and messages has its documented format or is left out."""
    draw = Draw(data)
    sent, own, trace = draw.text(), draw.text(), draw.text()
    event = {"headers": {"x-correlation-id": sent}, "requestContext": {"requestId": own}}
    found = http_api.correlation_id(event)
    assert found is None or _CORRELATION_ID.fullmatch(found)
    assert found in {None, sent, own}
    parent = traceparent_of(trace)
    assert parent is None or _TRACEPARENT.fullmatch(parent)
    assert parent is None or parent[3:11] in trace
    odd = {"headers": draw.value(), "requestContext": draw.value()}
    again = http_api.correlation_id(odd)
    assert again is None or _CORRELATION_ID.fullmatch(again)
    http_api.read({**event, **odd})
