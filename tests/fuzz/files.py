"""Check the files that an operator names, such as a replay plan, a list of ids or an archive."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from hashlib import sha256

from tests.fuzz.draw import Draw, expanded
from tests.fuzz.oracle import is_harmless, is_text, only
from tests.fuzz.scratch import file_with, folder
from ticketbottle_payctl import archive_file
from ticketbottle_payctl.cli.commands.replay.plan_file import StoredPlan, read_plan, write_plan
from ticketbottle_payctl.cli.commands.replay.plan_view import plan_blocks
from ticketbottle_payctl.cli.input.id_files import read_ids
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text
from ticketbottle_payctl.errors import InputError, UnavailableError
from ticketbottle_payctl.formats import command_line
from ticketbottle_payctl.jobs.replay import ReplayOptions

_PIPE = Surface(terminal=False, colour=False)
_LONGEST_ID = 200
_LARGEST_LIST = 4000
_AS_IT_IS = b"#"


def plans(data: bytes) -> None:
    """Assert that any file either is refused or is a plan that can be shown and written again.

    Unless the input begins with ``#``, correct the digest in the first line first, so that payctl reads the content.
    """
    path = file_with(data[1:] if data[:1] == _AS_IT_IS else _with_digest(data), "plan")
    with only(InputError):
        stored = read_plan(path)
        shown = as_text(Result("", human=plan_blocks(stored.plan, ReplayOptions())), _PIPE)
        is_harmless(shown, tabs=True)
        for event in stored.plan.events:
            assert isinstance(event.row.id, str)
            assert isinstance(event.row.version, int)
        again = folder() / "again"
        again.unlink(missing_ok=True)
        write_plan(again, stored)
        assert read_plan(again) == StoredPlan(
            stored.plan, stored.database, stored.selector, stored.allow_published, stored.allow_superseded
        )


def _with_digest(data: bytes) -> bytes:
    first, *others = data.split(b"\n")
    try:
        header = json.loads(first)
        header.pop("digest", None)
        lines = [json.dumps(header), *(line.decode() for line in others)]
        header["digest"] = sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
        return b"\n".join([json.dumps(header).encode(), *others])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def ids(data: bytes) -> None:
    """Assert that each id from a file can be shown, stored and pasted.

    Assert that an error does not quote a line of the file.
    """
    path = file_with(expanded(data, _LARGEST_LIST), "ids")
    with only(InputError):
        found = read_ids(str(path))
        assert found
        assert len(set(found)) == len(found)
        for each in found:
            assert each.strip()
            assert len(each) <= _LONGEST_ID
            assert each.isprintable()
            is_text(each)
        command = command_line(("replay",), found[:5], ("--reason", found[0]))
        assert [word for word in shlex.split(command) if word in found[:5]]
        is_harmless(command)


def archives(data: bytes) -> None:
    """Assert that an archive either can be read and extended, or is refused and left unchanged."""
    content = data[1:] if data[:1] == _AS_IT_IS else b"".join(_members(Draw(data)))
    path = file_with(content, "archive.gz")
    before: list[object] | None = None
    with only(InputError):
        before = list(archive_file.read(path))
    opened = False
    with only(InputError, UnavailableError), archive_file.Archive(path) as archive:
        opened = True
        archive.add(['{"id":"added"}'])
    if not opened:
        assert path.read_bytes() == content
    elif before is not None:
        assert list(archive_file.read(path)) == [*before, {"id": "added"}]


def _members(draw: Draw) -> Iterator[bytes]:
    """Yield gzip members. Some of them are cut short, damaged or not compressed, or have another header."""
    while draw.left:
        kind = draw.byte() % 8
        text = draw.raw()
        member = archive_file._member(text)  # noqa: SLF001 - what a crash leaves is a part of such a member
        match kind:
            case 0 | 1 | 2 | 3:
                yield member
            case 4:
                yield member[: draw.byte()]
            case 5:
                place = draw.byte() % len(member)
                yield member[:place] + bytes([draw.byte()]) + member[place + 1 :]
            case 6:
                yield b"\x1f\x8b\x08\x00" + bytes(6) + member[18:]
            case _:
                yield text
