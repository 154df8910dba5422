"""Count the columns that text takes on a terminal.

Wide characters, such as Chinese characters, take two columns each.
"""

from __future__ import annotations

import re

_MEASURED = re.compile(r"[^ -\u02ff\u1e00-\u1eff→…✔✘▁-█]")
"""A pattern for the characters that rich must measure. All other characters take one column."""


def columns_of(text: str) -> int:
    """Return how many columns ``text`` takes. The text must already be escaped."""
    if _MEASURED.search(text) is None:
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - rich, only on a terminal

    return cell_len(text)


def cut_to(text: str, width: int, mark: str = "…") -> str:
    """Return ``text`` in at most ``width`` columns. Longer text is cut off and ends in ``mark``."""
    if columns_of(text) <= width:
        return text
    room = max(0, width - len(mark))
    if _MEASURED.search(text) is None:
        return f"{text[:room]}{mark}"
    from rich.cells import set_cell_size  # noqa: PLC0415 - rich, only on a terminal

    return f"{set_cell_size(text, room)}{mark}"


def filled(text: str, width: int, *, right: bool = False) -> str:
    """Pad ``text`` to ``width`` columns.

    With ``right``, add the spaces on the left, so that the text is right-aligned.
    """
    spaces = " " * (width - columns_of(text))
    return f"{spaces}{text}" if right else f"{text}{spaces}"
