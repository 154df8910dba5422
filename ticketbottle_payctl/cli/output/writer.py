"""Write a result to stdout in the requested format, and everything else to stderr.

Only ``-o`` and PAYCTL_OUTPUT change the format. A pipe gets the same format as a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TextIO, assert_never

from ticketbottle_payctl.cli.output.machine import Invocation, as_csv, as_json, as_ndjson
from ticketbottle_payctl.cli.output.output_format import Colour, OutputFormat
from ticketbottle_payctl.cli.output.result import Block, Failure, Part, Raw, Result, Styled, bad, dim, warn
from ticketbottle_payctl.cli.output.sanitize import ascii_json
from ticketbottle_payctl.cli.output.streams import ReaderGoneError, silence, write_failure
from ticketbottle_payctl.cli.output.surface import Surface, surface_of
from ticketbottle_payctl.cli.output.text import as_text, lines_of, paint
from ticketbottle_payctl.redaction import redact


def emit(
    result: Result,
    invocation: Invocation,
    form: OutputFormat,
    colour: Colour,
    below_headline: Callable[[], None],
) -> None:
    """Write the result to stdout. A closed pipe is not an error, because the command's work is done.

    ``below_headline`` is called once, and may write to stderr. The function is called after the first line of text for
    people, before a document such as a script, or after output for programs.

    Raises:
        OutputError: payctl cannot write to stdout.
    """
    surface = surface_of(sys.stdout, colour)
    headline, rest = _headline_and_rest(result, form)
    if headline:
        write_stdout(as_text(replace(result, human=headline), surface))
    if rest:
        below_headline()
        write_stdout(as_text(replace(result, human=rest), surface))
    else:
        write_stdout("" if headline else _formatted(result, invocation, form, surface))
        below_headline()


def _headline_and_rest(result: Result, form: OutputFormat) -> tuple[Sequence[Block], Sequence[Block]]:
    """Return the first line of text for people, and the blocks below it. For a document, the first line is empty."""
    if form is not OutputFormat.TABLE or result.error or not result.human:
        return (), ()
    if isinstance(result.human[0], Raw):
        return (), result.human
    return result.human[:1], result.human[1:]


def write_stdout(text: str) -> None:
    """Write to stdout and flush. A closed pipe does not cause an error, neither now nor at exit.

    Raises:
        OutputError: payctl cannot write to stdout.
    """
    with suppress(ReaderGoneError):
        _write_result(text)


def write_part(text: str, *, json: bool) -> None:
    """Write a part of a long result to stdout.

    Raises:
        ReaderGoneError: the reader closed the pipe.
        OutputError: payctl cannot write to stdout.
    """
    whole = json and not Surface.of(sys.stdout, colour=False).unicode
    _write_result(ascii_json(text) if whole else text)


def tell(colour: Colour, *parts: Part) -> None:
    """Write a line to stderr."""
    surface = surface_of(sys.stderr, colour)
    _say(lines_of(parts, surface, between=1))


def tell_blocks(colour: Colour, blocks: Sequence[Block], below_headline: Callable[[], None]) -> None:
    """Write blocks of text for people, such as a plan, to stderr.

    ``below_headline`` is called after the first block.
    """
    surface = surface_of(sys.stderr, colour)
    _say(as_text(Result("", human=blocks[:1]), surface))
    below_headline()
    _say(as_text(Result("", human=blocks[1:]), surface) if blocks[1:] else "")


def ask(colour: Colour, question: str) -> None:
    """Write a question to stderr without a newline, so that the user types the answer next to the question."""
    _say(f"{paint(question, surface_of(sys.stderr, colour))} ")


def tell_failure(failure: Failure, colour: Colour, below_headline: Callable[[], None] = lambda: None) -> None:
    """Write the failure and its hint to stderr. ``below_headline`` is called after the first line.

    The hint's SQL statement has its own line, which is never broken, so that the statement can be copied into psql.
    """
    first, *more = redact(failure.message).splitlines() or [""]
    tell(colour, Styled(f"error[{failure.code}]:", bad("").style), first)
    below_headline()
    for cause in more:
        tell(colour, f"  {cause}")
    if failure.hint:
        tell(colour, dim("try:"), f"{redact(failure.hint)}:" if failure.sql else redact(failure.hint))
    if failure.sql:
        _say(f"  {paint(f'{failure.sql};', surface_of(sys.stderr, colour))}\n")


def tell_warnings(result: Result, colour: Colour) -> None:
    """Write the result's warnings to stderr."""
    for warning in result.warnings:
        tell(colour, warn("warning:"), redact(warning))


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


def _write_result(text: str) -> None:
    if not text:
        return
    try:
        _write(sys.stdout, text)
    except ReaderGoneError:
        raise
    except OSError as error:  # a stdout that was replaced, as in a test
        silence(sys.stdout)
        raise write_failure(error) from error


def _encodable(text: str, surface: Surface) -> str:
    return text if surface.unicode else ascii_json(text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # the terminal can show only ASCII
        stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
    stream.flush()
