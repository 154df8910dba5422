"""Test that every gateway is in each table of the code and of the tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.add_a_gateway.missing import ROOT, need, rows_of, source, table, value
from tests.add_a_gateway.places import (
    JSON_TABLE,
    MAY_BE_NONE,
    METHODS,
    ONLY_SOME,
    READINGS,
    TABLES,
    TABLES_OF_VARIABLES,
)
from ticketbottle_payctl.providers import GATEWAYS

MANY = max(4, len(GATEWAYS) - 1)
"""A table with this many gateways is meant to have them all."""


@pytest.mark.parametrize("place", TABLES)
def test_every_table_has_every_gateway(place):
    """Every gateway is in each table of the code and of the tests.

    A missing gateway would cause a KeyError, or the tests would silently leave out the gateway.
    """
    missing = [gateway for gateway in GATEWAYS if gateway not in table(place)]
    other = ", or None if its docstring allows this" if place in MAY_BE_NONE else ""
    need(not missing, f"add {', '.join(missing)} to {place.replace(' ', ': ')}{other}")


@pytest.mark.parametrize("place", TABLES)
def test_an_entry_is_none_only_if_the_table_s_docstring_explains_it(place):
    """Only a table in MAY_BE_NONE can have an entry that is None, and its docstring says what None means."""
    literal, docstring = source(place)
    entries = zip(literal.keys, literal.values, strict=True) if isinstance(literal, ast.Dict) else ()
    nothing = [
        ast.literal_eval(key) for key, entry in entries if isinstance(entry, ast.Constant) and entry.value is None
    ]
    need(place in MAY_BE_NONE or not nothing, f"replace the None of {', '.join(nothing)} in {place.replace(' ', ': ')}")
    explained = "None means" in docstring
    need(explained or place not in MAY_BE_NONE, f"say in the docstring of {place.replace(' ', ': ')} what None means")


def test_every_table_of_gateways_in_the_tests_is_named_here():
    """A table in the tests that has an entry for almost every gateway is in TABLES, or in ONLY_SOME with the reason."""
    named = {*TABLES, *TABLES_OF_VARIABLES, *ONLY_SOME, JSON_TABLE, READINGS}
    files = sorted(file for file in (ROOT / "tests").rglob("*.py") if file.parent != Path(__file__).parent)
    found = {file.relative_to(ROOT).as_posix(): tables_in(file.read_text("utf-8")) for file in files}
    unnamed = [
        f"{file}:{line} {name}".strip()
        for file, tables in found.items()
        for line, name in tables
        if not {file, f"{file} {name}"} & named
    ]
    need(not unnamed, f"give it a name, and add it to TABLES in tests/add_a_gateway/places.py: {', '.join(unnamed)}")


def tables_in(text: str) -> list[tuple[int, str]]:
    """Return the line and the name of each literal whose keys are almost all gateways. Only a global has a name."""
    if sum(gateway in text.casefold() for gateway in GATEWAYS) < MANY:
        return []
    found = []
    for statement in ast.parse(text).body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        name = target.id if isinstance(target, ast.Name) else ""
        found += [(node.lineno, name) for node in ast.walk(statement) if len(gateways_in(node)) >= MANY]
    return found


def gateways_in(node: ast.AST) -> set[str]:
    """Return the gateways that are keys of a literal, or the first values of its rows."""
    firsts = [row.elts[0] if isinstance(row, ast.Tuple) and row.elts else row for row in rows_of(node)]
    texts = [first.value for first in firsts if isinstance(first, ast.Constant) and isinstance(first.value, str)]
    return {re.split(r"[^a-z]", text.casefold())[0] for text in texts} & GATEWAYS.keys()


@pytest.mark.parametrize("place", TABLES_OF_VARIABLES)
def test_every_table_of_keys_has_every_variable(place):
    """Each test merchant has a value for every variable of each gateway."""
    variables = [field.env for gateway in GATEWAYS.values() for field in gateway.fields]
    missing = [variable for variable in variables if variable not in table(place)]
    need(not missing, f"add {', '.join(missing)} to {place.replace(' ', ': ')}")


@pytest.mark.parametrize("place", METHODS)
def test_every_test_class_has_a_method_for_every_gateway(place):
    """A test merchant signs a callback of each gateway, and a stand-in answers a status query of each gateway."""
    missing = [gateway for gateway in GATEWAYS if not hasattr(value(place), gateway)]
    need(not missing, f"add the method {', '.join(missing)} to {place.replace(' ', ': ')}")


def test_every_gateway_that_sends_json_is_tested_with_any_json():
    """The verifier of each gateway that sends JSON is tested with any value in a signed field."""
    json = [name for name, one in GATEWAYS.items() if one.content_type == "application/json" and one.method == "POST"]
    missing = [gateway for gateway in json if gateway not in table(JSON_TABLE)]
    need(not missing, f"add {', '.join(missing)} to {JSON_TABLE.replace(' ', ': ')}")


def test_every_signed_string_is_searched_for_a_second_meaning():
    """A gateway whose signed strings have only one meaning has a function that searches for a second meaning."""
    ambiguous = value("tests/providers/conftest.py AMBIGUOUS")
    missing = [name for name in GATEWAYS if ambiguous.get(name) is None and name not in table(READINGS)]
    need(not missing, f"add {', '.join(missing)} to {READINGS.replace(' ', ': ')}")
