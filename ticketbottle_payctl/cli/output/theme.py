"""The theme: what each style looks like. Labels are dim, values plain, states coloured, and one accent marks the rest.

Only the terminal's own sixteen colours are used, and never black or white: its owner chose them to be readable on its
background, light or dark. No meaning hangs on a colour alone: a state is also a word or a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.theme import Theme


class Style(Enum):
    """The style of a word: what it means, not how the terminal shows it."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    BOLD = "bold"
    DIM = "dim"
    ACCENT = "accent"


RICH: Mapping[Style, str] = {
    Style.GOOD: "green",
    Style.BAD: "red",
    Style.WARN: "yellow",
    Style.BOLD: "bold",
    Style.DIM: "dim",
    Style.ACCENT: "cyan",
}
"""Each style by rich's name for it."""

ANSI: Mapping[Style, str] = {
    Style.GOOD: "32",
    Style.BAD: "31",
    Style.WARN: "33",
    Style.BOLD: "1",
    Style.DIM: "2",
    Style.ACCENT: "36",
}
"""The same as codes of a control sequence, for text that is written without rich."""


def rich_theme() -> Theme:
    """Return the theme of bars, spinners and tables that rich draws."""
    from rich.theme import Theme  # noqa: PLC0415 - rich, only on a terminal

    accent, good, dim = RICH[Style.ACCENT], RICH[Style.GOOD], RICH[Style.DIM]
    return Theme(
        {
            "bar.back": dim,
            "bar.complete": accent,
            "bar.finished": good,
            "bar.pulse": accent,
            "progress.description": "default",
            "progress.download": "default",
            "progress.elapsed": dim,
            "progress.remaining": dim,
            "status.spinner": accent,
            "table.header": dim,
        }
    )
