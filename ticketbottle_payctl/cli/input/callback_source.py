"""Read a callback's request from a file, stdin, a query string or an API Gateway event."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from ticketbottle_payctl import providers
from ticketbottle_payctl.aws.api_gateway import to_request
from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.domain.callback import MAX_BODY_BYTES, Request
from ticketbottle_payctl.errors import BodyTooLargeError, InputError
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.providers.gateway import Gateway

AUTO = "auto"
_MAX_EVENT_BYTES = 4 * MAX_BODY_BYTES
_URLS = ("https://", "http://")
_SOURCES = "give a FILE, - for stdin, --query STRING or --event FILE"


@dataclass(frozen=True, slots=True)
class Source:
    """A callback's source, as the user typed it. Exactly one of ``file``, ``query`` and ``event`` must be given."""

    file: str | None = None
    query: str | None = None
    event: str | None = None
    path: str | None = None


def read_request(source: Source, provider: str) -> Request:
    """Read the request from the given source.

    ``provider`` is a gateway's name or ``auto``. The gateway decides whether a file contains a body or a query string.

    Raises:
        InputError: no source or several sources were given, or the source is empty, cannot be read, or is not a
            callback.
        BodyTooLargeError: the callback is larger than 64 KiB.
    """
    given = [value for value in (source.file, source.query, source.event) if value is not None]
    if not given:
        message = "no callback was given"
        raise InputError(message, hint=_SOURCES)
    if len(given) > 1:
        message = "the callback was given more than once"
        raise InputError(message, hint=f"{_SOURCES}: give only one of them")
    request = _read(source, provider)
    return request if source.path is None else replace(request, path=source.path)


def resolve(request: Request, provider: str) -> Gateway:
    """Return the gateway with the given name. For ``auto``, find the gateway by the request's path or format.

    Raises:
        InputError: the request does not look like a callback from any gateway.
    """
    if provider != AUTO:
        return providers.by_name(provider)
    gateway = providers.resolve(request)
    if gateway is None:
        message = "no known gateway sends callbacks in this format"
        raise InputError(message, hint=f"name the gateway: --provider {'|'.join(providers.GATEWAYS)}")
    return gateway


def _read(source: Source, provider: str) -> Request:
    if source.event is not None:
        return to_request(_json(read_bounded(source.event, _MAX_EVENT_BYTES)))
    if source.query is not None:
        return _query(source.query)
    content = read_bounded(source.file or "-", MAX_BODY_BYTES)
    if not content.strip():
        message = "the callback is empty"
        raise InputError(message, hint=_SOURCES)
    if _is_query(content, provider):
        return _query(_text(content))
    # An editor or a shell ends a file with a line break. No callback ends with a line break. In a form, the line break
    # would become part of a value.
    return Request(method="POST", body=content.rstrip(b"\r\n") if content.isascii() else content)


def _query(text: str) -> Request:
    """Make a request from a query string, with or without ``?``, or from a whole URL."""
    text = text.strip()
    path = ""
    if text.lower().startswith(_URLS):
        try:
            parts = urlsplit(text)
        except ValueError as error:
            message = "the value is not a valid URL"
            raise InputError(message) from error
        text, path = parts.query, parts.path
    text = text.removeprefix("?")
    if not text:
        message = "the query string is empty"
        raise InputError(message)
    if len(text) > MAX_BODY_BYTES:
        message = f"the query string is larger than {count(MAX_BODY_BYTES, 'byte')}"
        raise BodyTooLargeError(message)
    return Request(method="GET", path=path, query=text)


def _is_query(content: bytes, provider: str) -> bool:
    """Return whether a file contains a URL or a query string. If the user named a gateway, its method decides."""
    if provider != AUTO:
        return providers.by_name(provider).method == "GET"
    text = content.decode(errors="replace").strip("\ufeff \t\r\n")
    if text.startswith(("{", "[")):  # a value in a JSON body may contain a link with a gateway's signature
        return False
    if text.lower().startswith(_URLS):
        return True
    request = Request(method="GET", query=text.removeprefix("?"))
    return any(gateway.recognises(request) for gateway in providers.GATEWAYS.values() if gateway.method == "GET")


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        message = "the query string is not UTF-8"
        raise InputError(message) from error


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        message = "the event is not JSON"
        raise InputError(message, hint="--event needs an API Gateway event (payload format 2.0) as JSON") from error
