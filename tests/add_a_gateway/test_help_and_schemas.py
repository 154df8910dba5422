"""Test that the help pages and the JSON Schemas take their lists of gateways from a table."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.add_a_gateway.missing import ROOT, need
from ticketbottle_payctl import formats
from ticketbottle_payctl.providers import GATEWAYS

_BETWEEN = r"[^A-Za-z]+(?:and|or)?[^A-Za-z]*"

LIST = _BETWEEN.join(f"(?i:{name})" for name in GATEWAYS)
"""A regular expression that matches a list of all gateways.

Any characters other than letters can be between the names.
"""

WITH_ANOTHER = _BETWEEN.join((LIST, "(?i:another)"))

ANOTHER = """
from dataclasses import replace
from ticketbottle_payctl import formats, providers
formats.PROVIDERS["another"] = "Another"
providers.GATEWAYS["another"] = replace(providers.GATEWAYS["momo"], name="another", spellings=("another",))
import json
from typer.testing import CliRunner
from docs.schemas import documents
from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.main import app
pages = {name: json.dumps(page) for name, page in documents().items()}
for entry in registry.COMMANDS:
    pages[f"payctl {entry.name} --help"] = CliRunner().invoke(app, [*entry.words, "--help"], prog_name="payctl").stdout
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def with_another():
    """Return each help page and each JSON Schema from a process in which payctl has one more gateway."""
    made = subprocess.run([sys.executable, "-c", ANOTHER], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(made.stdout)


def test_every_help_and_schema_that_names_the_gateways_names_another_by_itself(with_another):
    """A help page or JSON Schema that lists the gateways picks up a new gateway from a table."""
    missing = [gateway for gateway in GATEWAYS if gateway not in formats.PROVIDERS]
    need(not missing, f"add {', '.join(missing)} to ticketbottle_payctl/formats.py: PROVIDERS")
    same = list(GATEWAYS) == list(formats.PROVIDERS)
    need(same, "put PROVIDERS in ticketbottle_payctl/formats.py into the order of providers/__init__.py")
    naming = {page: len(re.findall(LIST, text)) for page, text in with_another.items() if re.search(LIST, text)}
    assert {page for page in naming if page.endswith("--help")} >= {"payctl simulate --help", "payctl errors --help"}
    assert {page for page in naming if page.endswith(".json")} >= {"payctl.simulate-1.json", "payctl.listen-1.json"}
    assert {
        page for page, number in naming.items() if len(re.findall(WITH_ANOTHER, with_another[page])) != number
    } == set()
