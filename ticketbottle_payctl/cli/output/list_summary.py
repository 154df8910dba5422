"""Write the first line of a list: how many rows it shows, and how many of them are in each state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from ticketbottle_payctl.formats import count

_PHRASES = {"closed": "closed by an operator"}
"""The words for a state whose name is unclear outside its column."""
_PAIR = 2


class Place(StrEnum):
    """The position of the shown rows among all matching rows."""

    NEWEST = "newest"
    NEXT = "next"
    FIRST = "first"

    @classmethod
    def after(cls, cursor: str | None) -> Place:
        """Return the position of a page that is sorted from new to old. ``cursor`` is the value of ``--after``."""
        return cls.NEXT if cursor else cls.NEWEST


def summary(noun: str, states: Mapping[str, int], *, place: Place = Place.NEWEST, more: bool = False) -> str:
    """Return a sentence about the rows of a list. ``states`` contains the number of shown rows in each state.

    If ``more`` is True, more rows match than the list shows.
    """
    rows = sum(states.values())
    which = place if more else "last" if place is Place.NEXT else None
    if not rows:
        return f"no {'more ' if which else ''}{noun} matches"
    shown = count(rows, noun)
    if which is not None:
        shown = f"the {which} {noun if rows == 1 else shown}"
    named = sorted(states.items(), key=lambda each: -each[1])
    if len(named) > 1:
        shown += ": " + ", ".join(f"{number:,} {_PHRASES.get(state, state)}" for state, number in named)
    else:
        every = {1: "", _PAIR: "both "}.get(rows, "all ")
        shown += f", {every}{_PHRASES.get(named[0][0], named[0][0])}"
    return f"{shown}; more match" if more else shown
