"""Lay out help pages, with headings, examples, options and two-column lists."""

from __future__ import annotations

import sys
from typing import TextIO

from typer.core import TyperOption

from ticketbottle_payctl.cli.app.global_options import PANEL, guess_colour
from ticketbottle_payctl.cli.app.typer_internals import Command, Context, HelpFormatter
from ticketbottle_payctl.cli.output.result import bold
from ticketbottle_payctl.cli.output.surface import surface_of
from ticketbottle_payctl.cli.output.text import paint

_WIDEST = 110


def page_of(title: str, about: str, rows: list[tuple[str, str]]) -> str:
    """Return a help page that is as wide as the terminal, with a title, a paragraph and a two-column list."""
    formatter = Page(sys.stdout)
    formatter.write(f"{formatter.bold(title)}\n")
    with formatter.indentation():
        if about:
            formatter.write_paragraph()
            formatter.write_text(about)
        formatter.write_paragraph()
        formatter.write_dl(rows)
    return formatter.getvalue()


class Page(HelpFormatter):
    """A help page. Its headings are bold on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(max_width=_WIDEST)
        self.surface = surface_of(stream, guess_colour(sys.argv[1:]))

    def bold(self, text: str) -> str:
        """Return a heading, in bold if the output can show bold text."""
        return paint(bold(text), self.surface)

    def write_heading(self, heading: str) -> None:
        """Write a heading."""
        self.write(f"{'':>{self.current_indent}}{self.bold(heading)}\n")


def text_of(command: Command, ctx: Context, stream: TextIO) -> str:
    """Return a command's help, laid out for a stream."""
    formatter = Page(stream)
    command.format_help(ctx, formatter)
    return formatter.getvalue().rstrip("\n")


def write_examples(examples: list[tuple[str, str]], formatter: HelpFormatter) -> None:
    """Write the examples, each below a comment that says what it does."""
    if not examples:
        return
    with formatter.section("Examples"):
        for about, line in examples:
            formatter.write(f"{'':>{formatter.current_indent}}# {about}\n")
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def write_more(formatter: HelpFormatter, parts: list[str]) -> None:
    """Write the last paragraph. Lines break only between two parts, so that each part can be pasted."""
    formatter.write_paragraph()
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} {part}".strip()
        if len(longer) > formatter.width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = longer
    formatter.write("".join(f"{line}\n" for line in lines))


def write_parameters(command: Command, ctx: Context, formatter: HelpFormatter) -> None:
    """Write the arguments and the command's own options, without those that every command accepts."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None or parameter.name == "help":
            continue
        if not isinstance(parameter, TyperOption):
            sections["Arguments"].append(record)
        elif parameter.rich_help_panel != PANEL:
            sections["Options"].append(record)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
