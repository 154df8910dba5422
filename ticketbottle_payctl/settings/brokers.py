"""Read and check ``KAFKA_BROKERS``, a list of ``host:port`` entries. Each kind of mistake has its own message."""

from __future__ import annotations

import ipaddress
import re
from typing import NoReturn

from ticketbottle_payctl.errors import ConfigError

_EXAMPLE = "write, for example, KAFKA_BROKERS=broker-1.example:9092,broker-2.example:9092"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+_-]*://")
_ENTRY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_LAST_PORT = 65_535


def brokers(text: str) -> str:
    """Return the list in librdkafka's format, without spaces or empty entries.

    Raises:
        ConfigError: the list is empty, is not separated by commas, or an entry is not ``host:port``. The message gives
            the position of the invalid entry, but not its text.
    """
    if any(quote in text for quote in "\"'"):
        if text.lstrip().startswith("["):
            _refuse("is a JSON list", "separate the brokers with commas, without brackets or quotes")
        _refuse("contains quotes", "write it without quotes")
    if ";" in text:
        _refuse("contains a semicolon", "separate the brokers with commas")
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        _refuse("names no broker", _EXAMPLE)
    for number, entry in enumerate(entries, 1):
        _check(entry, "" if len(entries) == 1 else f"broker {number} of {len(entries)} in ")
    return ",".join(entries)


def _check(entry: str, which: str) -> None:
    if _SCHEME.match(entry):
        hint = "write only host:port; KAFKA_SSL and KAFKA_SASL_MECHANISM say how payctl connects"
        _refuse("has a scheme", hint, which)
    if "@" in entry:
        _refuse("has an @", "write only host:port; put the login in KAFKA_USERNAME and KAFKA_PASSWORD", which)
    if re.search(r"\s", entry):
        _refuse("contains a space", "separate the brokers with commas", which)
    found = _ENTRY.fullmatch(entry)
    if found is None or not _is_host(found[1]):
        if entry.startswith("["):
            _refuse("has brackets around something that is not an IPv6 address", _EXAMPLE, which)
        _refuse("is not host:port", f"{_EXAMPLE}; an IPv6 address is written in brackets, as [::1]:9092", which)
    port = found[2]
    if not port:
        _refuse("has no port", "add the port, usually 9092", which)
    if not (port.isascii() and port.isdigit() and 0 < int(port[:10]) <= _LAST_PORT):
        _refuse("has a port that is not a number from 1 to 65535", _EXAMPLE, which)


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return _HOST.fullmatch(text) is not None
    try:
        return bool(ipaddress.IPv6Address(text[1:-1]))
    except ValueError:
        return False


def _refuse(what: str, hint: str, which: str = "") -> NoReturn:
    message = f"{which}KAFKA_BROKERS {what}"
    raise ConfigError(message, hint=hint)
