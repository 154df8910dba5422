"""Print results of any length. ndjson and csv are written row by row. The other formats need all rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

import typer

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.machine import csv_header, csv_row, item_line, summary_line
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Block, Result

_BUFFERED = 200


def finish_stream(
    session: Session,
    rows: Iterable[Mapping[str, object]],
    columns: Sequence[str],
    close: Callable[[], Result],
    draw: Callable[[Sequence[Mapping[str, object]]], Sequence[Block]],
) -> NoReturn:
    """Write the rows and then the result that ``close`` returns after the last row. Exit with the result's exit code.

    ``draw`` formats the rows for people. If reading fails after some rows, ndjson ends with a summary that contains the
    error. csv ends without a summary, and only the exit code shows that rows are missing.
    """
    match session.shared.output:
        case OutputFormat.NDJSON:
            _write(map(item_line, rows), json=True)
            result = close()
            session.tell_target()
            writer.tell_warnings(result, session.shared.color)
            writer.write_part(summary_line(result, session.invocation()), json=True)
        case OutputFormat.CSV:
            writer.write_part(csv_header(columns), json=False)
            _write((csv_row(columns, row) for row in rows), json=False)
            result = close()
            session.tell_target()
            writer.tell_warnings(result, session.shared.color)
        case _:
            found = [dict(row) for row in rows]
            result = close()
            human = draw(found) if session.shared.output is OutputFormat.TABLE else ()
            session.finish(replace(result, items=found, human=human))
    raise typer.Exit(int(result.exit_code))


def _write(lines: Iterable[str], *, json: bool) -> None:
    held: list[str] = []
    for line in lines:
        held.append(line)
        if len(held) >= _BUFFERED:
            writer.write_part("".join(held), json=json)
            held.clear()
    if held:
        writer.write_part("".join(held), json=json)
