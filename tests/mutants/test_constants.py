"""Test the search for constants that are made from a changed line."""

from __future__ import annotations

import pytest

from tests.mutants.constants import importers, made_from, made_with

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


OTHERS = {
    "payctl/store/lists.py": 'from payctl.store.rules import old\n_ALL = f"SELECT {old(1)}"\n_MOST = [_ALL]\n_N = 0\n',
    "payctl/store/stats.py": "from payctl.store import (\n    lists,\n    rules,\n)\n_SUM = rules.old(1)\n",
    "payctl/store/pages.py": "from payctl.store import lists\nfrom payctl.store.rules_of_lists import old\n",
}


def test_a_constant_of_another_file_is_made_from_an_imported_name():
    """The search finds constants that a file makes from an imported name, and constants made from these constants."""
    found = importers(OTHERS, "payctl/store/rules.py")
    assert {file: made_with(OTHERS[file], ["old"]) for file in found} == {
        "payctl/store/lists.py": ["_ALL", "_MOST"],
        "payctl/store/stats.py": ["_SUM"],
    }
    assert importers({"a.py": "from payctl.store import x\n"}, "payctl/store/__init__.py") == ["a.py"]
