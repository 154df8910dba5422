"""Test the search for constants that are made from a changed line."""

from __future__ import annotations

import pytest

from tests.mutants.constants import made_from

SOURCE = '''import re

def old(since):
    return f"at < {since}"

_OLD = old("now")
_OPEN: str = f"""NOT done
    AND {_OLD}"""
_OTHER = "done"

def find(limit):
    return f"SELECT {_OPEN} {_OTHER} {limit}"
'''


@pytest.mark.parametrize(
    ("line", "names"),
    [(1, []), (4, ["old", "_OLD", "_OPEN"]), (6, ["_OLD", "_OPEN"]), (8, ["_OPEN"]), (9, ["_OTHER"]), (12, ["find"])],
)
def test_a_constant_is_made_from_the_functions_and_constants_above_it(line, names):
    """A changed line changes its own statement's name, and each constant that uses one of the changed names."""
    assert made_from(SOURCE, line) == names
