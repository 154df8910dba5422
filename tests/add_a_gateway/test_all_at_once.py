"""Test that one run of these tests names every place that a new gateway lacks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.add_a_gateway.missing import ROOT
from tests.add_a_gateway.places import JSON_TABLE, METHODS, PAGES, READINGS, ROWS, TABLES, TABLES_OF_VARIABLES

NEW = """
import sys
from dataclasses import replace
import pytest
from ticketbottle_payctl import providers
fields = tuple(replace(field, env=field.env.replace("MOMO", "FIFTHPAY")) for field in providers.GATEWAYS["momo"].fields)
new = replace(providers.GATEWAYS["momo"], name="fifthpay", spellings=("fifthpay",), fields=fields)
providers.GATEWAYS["fifthpay"] = providers._SPELLINGS["fifthpay"] = new
sys.exit(pytest.main(["-n", "0", "-p", "no:cacheprovider", "--tb=no", "-rN", "tests/add_a_gateway", "--deselect",
    "tests/add_a_gateway/test_all_at_once.py"]))
"""


@pytest.fixture(scope="module")
def output():
    """Return the output of these tests if only the registry has a new gateway."""
    done = subprocess.run([sys.executable, "-c", NEW], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    return done.stdout


def test_one_run_names_each_place_that_a_new_gateway_lacks(output):
    """One run names each table, each test class, each page, and each key in the template."""
    named = [f"fifthpay to {place.replace(' ', ': ')}" for place in (*TABLES, *METHODS, JSON_TABLE, READINGS)]
    named += [f"FIFTHPAY_SECRET_KEY to {place.replace(' ', ': ')}" for place in TABLES_OF_VARIABLES]
    named += [*PAGES, *(f"{row[0]}, {row[1].lstrip('# ')}" for row in ROWS), "3. The secrets", "The scheduled repair"]
    named += ["FIFTHPAY_SECRET_KEY_SECRET_ARN", "FIFTHPAY_SECRET_KEY: *for-sam-local", "Path: /webhook/fifthpay,"]
    named += [
        "queries/fifthpay.py",
        "samples.json",
        "gateway-vectors/fifthpay.json",
        "test_fifthpay.py",
        "pyproject.toml",
    ]
    assert [name for name in named if name not in output] == []


def test_no_line_of_the_run_depends_on_another_one(output):
    """No line asks the contributor to fix another line first, and no test ends with an unexpected error."""
    lines = [line for line in output.splitlines() if "first fix" in line or "Error" in line or "Traceback" in line]
    assert lines == []
