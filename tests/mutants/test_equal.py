"""Test that the list of equivalent changes names only code that exists."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import accumulate
from pathlib import Path

import pytest

from tests.mutants.results import EQUAL, several

ROOT = Path(__file__).parents[2]
ENTRIES = [
    (file, entry) for entry in tomllib.loads(EQUAL.read_text("utf-8"))["equal"] for file in several(entry["file"])
]
CHANGES = [(file, entry["was"], became) for file, entry in ENTRIES for became in several(entry["became"])]


@pytest.mark.parametrize(("file", "entry"), ENTRIES, ids=lambda each: each if isinstance(each, str) else each["was"])
def test_each_equal_change_begins_with_lines_of_its_file(file, entry):
    """Each equivalent change has a reason, and replaces whole lines of the file (without their indentation)."""
    assert consists_of_lines(entry["was"], (ROOT / file).read_text("utf-8"))
    assert entry["why"]


def test_no_equal_change_is_listed_twice():
    """Each equivalent change has one entry, so it has one reason."""
    assert [change for change, number in Counter(CHANGES).items() if number > 1] == []


@pytest.mark.parametrize(
    ("text", "expected"), [("a = 1", True), ("a = 1 b = 2", True), ("a = ", False), ("b = 2 a = 1", False)]
)
def test_a_part_of_a_line_is_not_a_line(text, expected):
    """Only whole lines in a row count."""
    assert consists_of_lines(text, "a = 1\n  b =  2\n") is expected


def consists_of_lines(text, source):
    """Return whether a text consists of lines in a row, joined by single spaces as in :func:`making.change`."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in source.splitlines()]
    starts = (place for place, line in enumerate(lines) if line and text.startswith(line))
    return any(text in accumulate(filter(None, lines[place : place + 20]), "{} {}".format) for place in starts)
