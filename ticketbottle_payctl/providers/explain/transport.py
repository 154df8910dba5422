"""Undo changes that proxies and tools may make to a request, for example to its encoding or line endings."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from urllib.parse import unquote

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers.explain.model import Hint

BOM = "\ufeff"


def requests_before(request: Request) -> Iterator[tuple[Hint, Request]]:
    """Yield the requests that may have been sent before a change in transit, each with a hint about the change."""
    for code, text, undo in _BODY:
        body = _undone(undo, request.body)
        if body is not None:
            yield Hint(code, f"would match if {text}"), replace(request, body=body)
    for code, text, undo_query in _QUERY:
        query = undo_query(request.query)
        if query != request.query:
            yield Hint(code, f"would match if {text}"), replace(request, query=query)


def texts_before(text: str) -> Iterator[tuple[Hint, str]]:
    """Yield the strings that may have been signed before a change in transit, each with a hint about the change."""
    for code, condition, near in (
        ("trailing_newline", "the signed text ended with a line break", f"{text}\n"),
        ("trailing_newline", "the signed text ended with a line break (CR LF)", f"{text}\r\n"),
        ("white_space", "the signed text had no leading or trailing whitespace", text.strip()),
        ("line_ends", "the line breaks were CR LF", text.replace("\r\n", "\n").replace("\n", "\r\n")),
        ("line_ends", "the line breaks were LF", text.replace("\r\n", "\n")),
        ("byte_order_mark", "the signed text began with a byte order mark", f"{BOM}{text}"),
        ("byte_order_mark", "the signed text had no byte order mark", text.removeprefix(BOM)),
        ("unicode_form", "the text was normalized to Unicode NFC", unicodedata.normalize("NFC", text)),
        ("unicode_form", "the letters were decomposed (Unicode NFD)", unicodedata.normalize("NFD", text)),
    ):
        if near != text:
            yield Hint(code, f"would match if {condition}"), near


def _undone(undo: Callable[[bytes], bytes], body: bytes) -> bytes | None:
    try:
        before = undo(body)
    except (ValueError, RecursionError, AttributeError):
        return None
    return before if before and before != body else None


def _from_base64(body: bytes) -> bytes:
    return base64.b64decode(body.strip(), validate=True)


def _decoded_once(query: str) -> str:
    # Only an escaped percent or plus sign shows that the query was encoded twice.
    return unquote(query) if "%25" in query or "%2B" in query else query


_BODY: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    ("byte_order_mark", "the body had no byte order mark", lambda body: body.decode("utf-8-sig").encode()),
    ("utf_16", "the body was UTF-8; it arrived as UTF-16", lambda body: body.decode("utf-16").encode()),
    ("base64", "the body was decoded from base64", _from_base64),
    ("base64", "the body was decoded from base64 twice", lambda body: _from_base64(_from_base64(body))),
    ("json_in_json", "the body was not wrapped in quotes as a JSON string", lambda body: json.loads(body).encode()),
    ("latin_1", "the body had not been decoded as Latin-1 in transit", lambda body: body.decode().encode("cp1252")),
    (
        "unicode_form",
        "the text was normalized to Unicode NFC",
        lambda body: unicodedata.normalize("NFC", body.decode()).encode(),
    ),
    (
        "unicode_form",
        "the letters were decomposed (Unicode NFD)",
        lambda body: unicodedata.normalize("NFD", body.decode()).encode(),
    ),
)
_QUERY: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    (
        "whole_url",
        "only the part after the question mark was given",
        lambda query: query.partition("?")[2] or query,
    ),
    ("html_escaped", "each & of the query was turned into &amp;", unescape),
    ("encoded_twice", "the query was percent-decoded once", _decoded_once),
    ("white_space", "the query had no leading or trailing whitespace", str.strip),
)
