"""The one renderer: a result in the form that was asked for, on stdout and nowhere else.

The form changes by ``-o`` or PAYCTL_OUTPUT only, never because stdout is a pipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO, assert_never

from ticketbottle_payctl.cli.output.format import Colour, OutputFormat
from ticketbottle_payctl.cli.output.machine import Invocation, as_csv, as_json, as_ndjson
from ticketbottle_payctl.cli.output.result import Block, Failure, Part, Result, Styled, bad, dim, warn
from ticketbottle_payctl.cli.output.sanitize import ascii_json
from ticketbottle_payctl.cli.output.surface import Surface, surface_of
from ticketbottle_payctl.cli.output.text import as_text, paint
from ticketbottle_payctl.telemetry import redact


def emit(result: Result, invocation: Invocation, form: OutputFormat, colour: Colour) -> None:
    """Write the result to stdout, once. A reader that went away is not an error: the work was done."""
    write_stdout(_formatted(result, invocation, form, surface_of(sys.stdout, colour)))


def write_stdout(text: str) -> None:
    """Write and flush; where nobody reads any more, stay quiet now and at exit."""
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError:
        silence(sys.stdout)
        raise


def write_part(text: str, *, json: bool) -> None:
    """A piece of an answer that is too long to be held; the last one is the answer's end.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    whole = json and not Surface.of(sys.stdout, colour=False).unicode
    _write(sys.stdout, ascii_json(text) if whole else text)


def tell(colour: Colour, *parts: Part) -> None:
    """One line of talk, on stderr."""
    surface = surface_of(sys.stderr, colour)
    _say(" ".join(paint(part, surface) for part in parts) + "\n")


def tell_blocks(colour: Colour, blocks: Sequence[Block]) -> None:
    """What is about to be done, drawn for people, on stderr."""
    _say(as_text(Result("", human=blocks), surface_of(sys.stderr, colour)))


def ask(colour: Colour, question: str) -> None:
    """A question on stderr, without a line's end: the answer is typed beside it."""
    _say(f"{paint(question, surface_of(sys.stderr, colour))} ")


def tell_failure(failure: Failure, colour: Colour) -> None:
    """What failed, on what, and what to do next, on stderr."""
    first, *more = redact(failure.message).splitlines() or [""]
    tell(colour, Styled(f"error[{failure.code}]:", bad("").style), first)
    for cause in more:
        tell(colour, f"  {cause}")
    if failure.hint:
        tell(colour, dim("try:"), redact(failure.hint))


def tell_warnings(result: Result, colour: Colour) -> None:
    """The result's warnings, on stderr."""
    for warning in result.warnings:
        tell(colour, warn("warning:"), redact(warning))


def silence(stream: TextIO) -> None:
    """Let the interpreter's own flush at exit go nowhere instead of failing."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a file behind it needs no silencing
        return


def _formatted(result: Result, invocation: Invocation, form: OutputFormat, surface: Surface) -> str:
    match form:
        case OutputFormat.JSON:
            return _encodable(as_json(result, invocation), surface)
        case OutputFormat.NDJSON:
            return _encodable(as_ndjson(result, invocation), surface)
        case OutputFormat.CSV:
            return "" if result.error else as_csv(result)
        case OutputFormat.TABLE:
            return "" if result.error else as_text(result, surface)
        case OutputFormat.NONE:
            return ""
        case _:
            assert_never(form)


def _say(text: str) -> None:
    try:
        _write(sys.stderr, text)
    except OSError:
        silence(sys.stderr)


def _encodable(text: str, surface: Surface) -> str:
    return text if surface.unicode else ascii_json(text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # an ASCII terminal; the text is safe either way
        stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    stream.flush()
