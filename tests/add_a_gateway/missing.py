"""Look up tables and pages, and fail with a line that says what is missing."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from ticketbottle_payctl.errors import NotFoundError

ROOT = Path(__file__).parents[2]
FIRST_THE_QUERY = "first write the status query: ticketbottle_payctl/providers/queries"


def need(found: object, what: str) -> None:
    """Fail without a traceback if something is missing. ``what`` says in one line what to do."""
    if not found:
        pytest.fail(what, pytrace=False)


def value(place: str) -> object:
    """Return the value of a variable. ``place`` is a file and the name of the variable in that file."""
    file, name = place.split(" ")
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, KeyError, NotFoundError) as error:
        problem = f"{file} does not load yet ({error!r}): first fix the other failures"
    return pytest.fail(problem, pytrace=False)


def table(place: str) -> set[str]:
    """Return the keys of a table. ``place`` is a file and the name of a variable in that file.

    If a row is a tuple, its key is the tuple's first value. If a key has several words, the first one is the gateway.
    """
    keys = {row[0] if isinstance(row, tuple) else row for row in value(place)}
    return {key.partition(" ")[0] for key in keys}


def section(name: str, heading: str) -> str:
    """Return the part of a page between this heading and the next one."""
    _, found, after = (ROOT / name).read_text("utf-8").partition(f"{heading}\n")
    need(found, f"{name} has no heading {heading!r}")
    return re.split(r"\n##+ ", after)[0]
