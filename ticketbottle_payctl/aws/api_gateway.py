"""Convert events from an API Gateway HTTP API (payload format 2.0) to requests, and convert replies to responses.

Source: "Create AWS Lambda proxy integrations for HTTP APIs in API Gateway". The query comes from ``rawQueryString``.
Signatures cannot be checked with ``queryStringParameters``, because its values are decoded and its repeated parameters
are joined.
"""

from __future__ import annotations

import binascii
from typing import NoReturn

from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Reply, Request
from ticketbottle_payctl.errors import BodyTooLargeError, InputError

_MAX_BASE64 = (MAX_BODY_BYTES + 2) // 3 * 4


def to_request(event: object) -> Request:
    """Return the HTTP request that an event contains.

    Raises:
        BodyTooLargeError: the body or the query is larger than ``MAX_BODY_BYTES``.
        InputError: the event does not have this format. No other exception can occur.
    """
    fields = _mapping(event, "the event")
    if fields.get("version", "2.0") != "2.0":
        _refuse("the event is not in payload format 2.0")
    http = _mapping(_mapping(fields.get("requestContext"), "requestContext").get("http"), "requestContext.http")
    query = _text(fields.get("rawQueryString", ""), "rawQueryString")
    if len(query) > MAX_BODY_BYTES:
        _too_large("the query is too large")
    return Request(
        method=_text(http.get("method"), "requestContext.http.method"),
        path=_text(fields.get("rawPath"), "rawPath"),
        query=query,
        body=_body(fields),
    )


def to_response(reply: Reply) -> dict[str, object]:
    """Return the function result that makes API Gateway send ``reply``."""
    return {
        "statusCode": reply.status,
        "headers": dict(reply.headers),
        "body": reply.body,
        "isBase64Encoded": False,
    }


def _body(event: dict[str, object]) -> bytes:
    body, encoded = event.get("body"), event.get("isBase64Encoded", False)
    if not isinstance(encoded, bool):
        _refuse("isBase64Encoded is neither true nor false")
    if body is None:
        return b""
    content = _text(body, "the body")
    if len(content) > (_MAX_BASE64 if encoded else MAX_BODY_BYTES):
        _too_large("the body is too large")
    data = _decoded(content) if encoded else content.encode()
    if len(data) > MAX_BODY_BYTES:
        _too_large("the body is too large")
    return data


def _decoded(content: str) -> bytes:
    try:
        return binascii.a2b_base64(content, strict_mode=True)
    except ValueError:
        _refuse("the body is not base64")


def _mapping(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        _refuse(f"{name} is missing or not an object")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        _refuse(f"{name} is missing or not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(f"{name} is not valid text")
    return value


def _refuse(message: str) -> NoReturn:
    raise InputError(message)


def _too_large(message: str) -> NoReturn:
    hint = f"payctl reads at most {MAX_BODY_BYTES} bytes; gateways send less than 4 kB"
    raise BodyTooLargeError(message, hint=hint)
