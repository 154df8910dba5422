"""Change a genuine callback step by step, as an attacker would."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.fuzz.draw import Draw
from ticketbottle_payctl.domain.callback import Request

_MOST = 6


def edited(request: Request, draw: Draw) -> Request:
    """Return the request after up to six changes to its bytes, its fields or its encoding."""
    in_query = request.method == "GET"
    content = request.query.encode() if in_query else request.body
    for _ in range(_MOST):
        if not draw.left:
            break
        content = (_query if in_query else _body)(content, draw)
    if in_query:
        return replace(request, query=content.decode("utf-8", "surrogateescape"))
    return replace(request, body=content)


def _body(content: bytes, draw: Draw) -> bytes:
    match draw.byte() % 8:
        case 0 | 1 | 2:
            return _bytes(content, draw)
        case 3:
            return _member(content, draw, inside=False)
        case 4:
            return _member(content, draw, inside=True)
        case 5:
            return content.replace(b"{", b"{" + draw.raw() + b",", 1)
        case 6:
            return b"".join(content.rpartition(b"}")[:1]) + b"," + draw.raw() + b"}"
        case _:
            return _spelled(content, draw)


def _member(content: bytes, draw: Draw, *, inside: bool) -> bytes:
    """Set one field of the object, or of the object in ``data``. The field may exist already."""
    try:
        document = json.loads(content)
        target = document["data"] if inside else document
        names = list(target)
        name = names[draw.byte() % len(names)] if draw.flag() else draw.text()
        target[name] = draw.value()
        return json.dumps(document, ensure_ascii=draw.flag()).encode()
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError, RecursionError):
        return content


def _spelled(content: bytes, draw: Draw) -> bytes:
    """Encode the whole content in a different way."""
    match draw.byte() % 5:
        case 0:
            return b"\xef\xbb\xbf" + content
        case 1:
            return content.decode("utf-8", "replace").encode("utf-16")
        case 2:
            return content + b"\n"
        case 3:
            return content.swapcase()
        case _:
            return content.replace(b'"', b"'")


def _query(content: bytes, draw: Draw) -> bytes:
    match draw.byte() % 6:
        case 0 | 1:
            return _bytes(content, draw)
        case 2:
            return content + b"&" + draw.raw()
        case 3:
            return draw.raw() + b"&" + content
        case 4:
            pairs = content.split(b"&")
            place = draw.byte() % len(pairs)
            first = pairs.pop(place)
            return b"&".join([*pairs, first] if draw.flag() else pairs)
        case _:
            place = draw.byte() * 256 + draw.byte()
            letter = content[place % max(1, len(content)) :][:1]
            spelled = f"%{letter[0]:02{'X' if draw.flag() else 'x'}}".encode() if letter else b""
            return content[:place] + spelled + content[place + 1 :]


def _bytes(content: bytes, draw: Draw) -> bytes:
    """Replace, insert, delete or copy bytes at a drawn position."""
    place = (draw.byte() * 256 + draw.byte()) % (len(content) + 1)
    match draw.byte() % 4:
        case 0:
            piece = draw.raw()
            return content[:place] + piece + content[place + len(piece) :]
        case 1:
            return content[:place] + draw.raw() + content[place:]
        case 2:
            return content[:place] + content[place + draw.byte() :]
        case _:
            end, onto = place + draw.byte(), (draw.byte() * 256 + draw.byte()) % (len(content) + 1)
            return content[:onto] + content[place:end] + content[onto:]
