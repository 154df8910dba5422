"""Test the numbers of database connections and of concurrent executions in docs/deploy.md."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.conftest import INSIDE
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

UNRESERVED = 100
"""The concurrency that AWS always keeps for functions without a reservation."""


@pytest.fixture(scope="module")
def page(root):
    """Return the text of docs/deploy.md."""
    return (root / "docs" / "deploy.md").read_text("utf-8")


@pytest.fixture(scope="module")
def reserved(root):
    """Return the concurrency that each parameter for prod in samconfig.toml reserves."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))
    given = config["prod"]["deploy"]["parameters"]["parameter_overrides"]
    return {name: int(value) for name, value in (each.split("=", 1) for each in given) if name.startswith("Reserved")}


@pytest.fixture(scope="module")
def fixed(functions):
    """Return the sum of the concurrency that the template reserves with a number instead of a parameter."""
    found = (one.get("ReservedConcurrentExecutions") for one in functions.values())
    return sum(number for number in found if isinstance(number, int))


def test_the_page_says_which_quota_production_needs(page, reserved, fixed):
    """The quota on the page is the sum of prod's reservations and of the concurrency that AWS keeps unreserved."""
    (total, *parts) = re.search(
        r"prod\s+reserves\s+(\d+):\s+(\d+)\s+for\s+`ReservedWebhook`,\s+(\d+)\s+for\s+`ReservedProcessor`,\s+and\s+(\d+)\s+for\s+"
        r"`reconcile-payments`",
        page,
    ).groups()
    assert list(map(int, parts)) == [reserved["ReservedWebhook"], reserved["ReservedProcessor"], fixed]
    assert int(total) == sum(map(int, parts))
    assert f"must be at least {int(total) + UNRESERVED} before" in page


def test_the_page_adds_up_the_database_connections(page, reserved, functions):
    """The page's table of database connections fits prod in samconfig.toml, and has every function in the VPC.

    A publisher's engine keeps at most as many connections as the table says.
    """
    section = page.partition("\n### Database connections\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) ?\| (\d+) \|$", section, re.MULTILINE)
    counts = {names: int(count) for names, _, count in rows}
    total = counts.pop("the whole stack")
    pool = make_engine(DatabaseSettings(Secret("postgresql://u@h/d"))).pool
    assert f"up to {pool.size()} for each run" in section
    assert counts["`webhook`"] == reserved["ReservedWebhook"]
    assert counts["`publish-outbox`"] == reserved["ReservedProcessor"] * pool.size()
    assert (counts["`cleanup`, `watch-payments`"], counts["`reconcile-payments`"]) == (2, 2)
    assert total == sum(counts.values())
    inside = {functions[name]["FunctionName"]["Fn::Sub"].partition("}-")[2] for name in INSIDE}
    assert set(re.findall("`([a-z-]+)`", " ".join(counts))) == inside
