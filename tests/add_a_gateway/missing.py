"""Look up tables and pages, and fail with a line that says what is missing."""

from __future__ import annotations

import ast
import importlib
import re
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUERIES_FILE = "ticketbottle_payctl/providers/queries/{name}.py"


def need(found: object, what: str) -> None:
    """Fail without a traceback if something is missing. ``what`` says in one line what to do."""
    report([] if found else [what])


def report(problems: list[str]) -> None:
    """Fail without a traceback if there are problems. Each problem says in one line what to do."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def value(place: str) -> object:
    """Return the value of a variable. ``place`` is a file and the name of the variable in that file."""
    file, name = place.split(" ")
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return getattr(importlib.import_module(module), name)


def table(place: str) -> set[str]:
    """Return the keys of a table. ``place`` is a file and the name of a variable in that file.

    If a row is a tuple or a call, its key is its first value. If a key has several words, the first one is the gateway.
    This function parses the source file and does not import the module, because a test module with an incomplete table
    cannot be imported.
    """
    literal, _ = source(place)
    if isinstance(literal, (ast.Dict, ast.List, ast.Set, ast.Tuple)):
        keys = set(filter(None, map(_first_text, rows_of(literal))))
    else:
        keys = set(value(place))
    return {key.partition(" ")[0] for key in keys}


def source(place: str) -> tuple[ast.expr | None, str]:
    """Return the expression that a variable gets, and the string below the variable."""
    file, name = place.split(" ")
    statements = ast.parse((ROOT / file).read_text("utf-8")).body
    for statement, after in zip_longest(statements, statements[1:]):
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            string = after.value if isinstance(after, ast.Expr) else None
            return statement.value, ast.literal_eval(string) if isinstance(string, ast.Constant) else ""
    message = f"{file} has no variable {name}"
    raise LookupError(message)


def rows_of(literal: ast.expr) -> list[ast.expr]:
    """Return the keys of a dict, or the items of another literal."""
    return literal.keys if isinstance(literal, ast.Dict) else getattr(literal, "elts", [])


def _first_text(row: ast.expr) -> str | None:
    if isinstance(row, (ast.Tuple, ast.Call)):
        values = row.elts if isinstance(row, ast.Tuple) else row.args
        return _first_text(values[0]) if values else None
    return row.value if isinstance(row, ast.Constant) and isinstance(row.value, str) else None


def section(name: str, heading: str) -> str:
    """Return the part of a page between this heading and the next one."""
    _, found, after = (ROOT / name).read_text("utf-8").partition(f"{heading}\n")
    need(found, f"{name} has no heading {heading!r}")
    return re.split(r"\n##+ ", after)[0]
