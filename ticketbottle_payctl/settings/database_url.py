"""Parse ``DATABASE_URL`` according to the WHATWG URL rules, as the payment service's Prisma does.

No other module parses this URL. The authority ends at the first ``/``, ``?`` or ``#``. The user name and password end
at the last ``@`` in the authority. Each part is percent-decoded once. A ``%`` without two hexadecimal digits stays
unchanged. The first segment of the path is the database name. payctl implements the rules for URLs whose scheme is not
special (https://url.spec.whatwg.org/#concept-basic-url-parser). docs/decisions/0012-database-url.md says why payctl
does not use a library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.secret import Secret

_FORM = "the format is postgresql://user:password@host:port/database"
_ENCODE = (
    "write / as %2F, ? as %3F, # as %23, @ as %40 and : as %3A in the user name, the password and the database name"
)
_SCHEME = re.compile(r"(?i)postgres(?:ql)?://")
_TAB_OR_NEWLINE = re.compile(r"[\t\n\r]")
_NOT_IN_A_HOST = re.compile(r"[\x00 #/:<>?@\[\\\]^|]")
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)
_DOT, _TWO_DOTS = re.compile(r"(?i)(?:\.|%2e)"), re.compile(r"(?i)(?:\.|%2e){2}")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RESERVED = re.compile(r"[\s:/?#\[\]@!$&'()*+,;=%\"<>\\^`{|}]+")
_MOST_FIELDS = 100
_LAST_PORT = 65_535
_C0_OR_SPACE = "".join(map(chr, range(0x21)))


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The percent-decoded parts of a database URL. A missing part is None."""

    user: str | None = field(repr=False)
    password: Secret | None
    host: str | None
    port: int | None
    database: str | None
    parameters: dict[str, str] = field(repr=False)
    """The parameters in the query. If a name occurs twice, the last value is used."""
    remarks: tuple[str, ...] = ()
    """A warning for each part of the URL that may not mean what the author intended."""


def parse(text: str) -> DatabaseUrl:
    """Parse a database URL.

    Raises:
        ConfigError: ``text`` is not a PostgreSQL URL, or a part cannot be decoded. The message never contains any part
            of the URL.
    """
    text = _TAB_OR_NEWLINE.sub("", text.strip(_C0_OR_SPACE))
    scheme = _SCHEME.match(text)
    if scheme is None:
        if text[:1] in {'"', "'"}:
            _refuse("begins with a quote", "write it without quotes")
        _refuse("does not begin with postgresql://", _FORM)
    rest, _, fragment = text[scheme.end() :].partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    userinfo, at, place = authority.rpartition("@")
    if at and not place:
        _refuse(
            "has a user or password but no host", "name the host; for a socket write localhost and ?host=/directory"
        )
    segments = _segments(path) if slash else []
    _refuse_stray_at(path, query, fragment)
    host, port = _host_and_port(place)
    user, colon, password = userinfo.partition(":")
    named = _decoded(segments[0], "database name") if segments else ""
    remarks = []
    if any(segments[1:]):
        remarks.append("the path of DATABASE_URL has several parts; the first one names the database")
    if fragment:
        remarks.append("DATABASE_URL has an unencoded #; the text after it is ignored")
    if any(_LONE_PERCENT.search(part) for part in (userinfo, path)):
        remarks.append("DATABASE_URL has a % without two hexadecimal digits; it is taken literally (write it as %25)")
    return DatabaseUrl(
        user=_decoded(user, "user name") or None,
        password=Secret(_decoded(password, "password")) if colon and password else None,
        host=_decoded(host, "host") or None,
        port=port,
        database=named or None,
        parameters=_parameters(query),
        remarks=tuple(remarks),
    )


def secrets_in(text: str) -> Iterator[Secret]:
    """Yield the password in a URL, its other spellings, and its parts. The URL may be invalid.

    Another parser may read a longer password from the same URL. Therefore everything up to the last ``@`` counts as
    part of the password.
    """
    scheme = re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*://", text)
    userinfo, at, _ = text[scheme.end() if scheme else 0 :].rpartition("@")
    _, colon, password = userinfo.partition(":")
    if at and colon:
        yield from (Secret(each) for each in spellings(password))
    for name, value in parse_qsl(text.partition("?")[2], errors="replace"):
        if name in {"password", "sslpassword"}:
            yield from (Secret(each) for each in spellings(value))


def spellings(password: str) -> set[str]:
    """Return a password, its percent-decoded spelling, and the parts between reserved characters in both spellings."""
    decoded = unquote_to_bytes(password.encode("utf-8", "replace")).decode("utf-8", "replace")
    return {piece for whole in (password, decoded) for piece in (whole, *_RESERVED.split(whole)) if piece}


def _refuse(what: str, hint: str) -> NoReturn:
    message = f"DATABASE_URL {what}"
    raise ConfigError(message, hint=hint)


def _segments(path: str) -> list[str]:
    """Return the path's segments. Resolve ``.`` and ``..`` even if they are encoded, as the standard requires."""
    found: list[str] = []
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        if not (dots := _TWO_DOTS.fullmatch(part)) and not _DOT.fullmatch(part):
            found.append(part)
            continue
        if dots and found:
            found.pop()
        if number == len(parts):
            found.append("")
    return found


def _refuse_stray_at(path: str, query: str, fragment: str) -> None:
    """Raise an error if an ``@`` follows the host, because the password may contain an unencoded ``/``, ``?`` or ``#``.

    The rest of such a password would be parsed as a database name or a parameter, which payctl might print. A database
    name with an ``@`` is refused too, because payctl cannot tell the two cases apart.
    """
    names = (pair.partition("=")[0] for pair in query.split("&"))
    if "@" in path or "@" in fragment or any("@" in name for name in names):
        _refuse("has an @ after the host: the user name or the password contains an unencoded / or ? or #", _ENCODE)


def _host_and_port(place: str) -> tuple[str, int | None]:
    if place.startswith("["):
        found = _BRACKETED.fullmatch(place)
        host, port = (found[1], found[2]) if found else ("", None)
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            _refuse("has a host in brackets that is not an IPv6 address", _FORM)
        if "%" in host:
            _refuse("has an IPv6 address with a zone, which a URL cannot contain", "write the host as ?hostaddr=")
        return host, _port(port)
    host, colon, port = place.partition(":")
    if colon and not host:
        _refuse("has a port but no host", _FORM)
    if "," in place:
        _refuse(
            "names several hosts before the database",
            "write localhost as the host, and list the servers as ?host=a,b&port=5432,5433",
        )
    if _NOT_IN_A_HOST.search(host):
        _refuse("has a host with a character that is not allowed", _ENCODE)
    return host, _port(port)


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= _LAST_PORT):
        hint = f"{_FORM}; {_ENCODE}"
        _refuse("has a port that is not a number from 1 to 65535, or an unencoded character in the password", hint)
    return int(text)


def _decoded(text: str, part: str) -> str:
    """Percent-decode a part once.

    Raises:
        ConfigError: the part is not UTF-8, or contains a null character, which PostgreSQL does not accept.
    """
    try:
        found = unquote_to_bytes(text).decode()
    except UnicodeError:
        _refuse(f"has a {part} that is not UTF-8", "percent-encode it as UTF-8")
    if "\0" in found:
        _refuse(f"has %00 in the {part}", "PostgreSQL does not accept this character; check the URL")
    return found


def _parameters(query: str) -> dict[str, str]:
    try:
        found = dict(parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS))
    except ValueError:
        _refuse(f"has more than {_MOST_FIELDS} parameters", _FORM)
    if any("\0" in part for pair in found.items() for part in pair):
        _refuse("has %00 in a parameter", "PostgreSQL does not accept this character; check the URL")
    return found
