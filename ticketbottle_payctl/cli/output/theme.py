"""Define the look of each style: dim labels, plain values, coloured states, and one accent colour.

payctl uses only the terminal's own sixteen colours, except black and white. These colours are readable on the
terminal's background. A state is never shown by colour alone: it also has a word or a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.theme import Theme


class Style(Enum):
    """A style, which is named after its meaning instead of its look."""

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
"""rich's name for each style."""

ANSI: Mapping[Style, str] = {
    Style.GOOD: "32",
    Style.BAD: "31",
    Style.WARN: "33",
    Style.BOLD: "1",
    Style.DIM: "2",
    Style.ACCENT: "36",
}
"""The terminal's control codes for each style, for text that is written without rich."""


def rich_theme() -> Theme:
    """Return rich's theme for bars, spinners and tables."""
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
