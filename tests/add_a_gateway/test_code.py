"""Test that the code, the package and the test data have every gateway."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

from lambda_entrypoints.forgeries import FORGERIES
from tests.add_a_gateway.missing import QUERIES_FILE, ROOT, need
from tests.add_a_gateway.places import FILES
from ticketbottle_payctl.cli.app.argv import require_utf8
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.errors import InputError
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_variable_with_the_gateway_s_address_has_the_usual_name(gateway):
    """The variable that replaces a gateway's host has the name that the tests and the pages expect."""
    wanted = f"PAYCTL_{gateway.upper()}_URL"
    right = gateway in QUERIES and QUERIES[gateway].url_variable == wanted
    need(right, f"write the status query {QUERIES_FILE.format(name=gateway)}, and set its url_variable to {wanted}")


def test_every_gateway_is_a_keyword_of_the_package():
    """The package's keywords include the name of each gateway."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    missing = GATEWAYS.keys() - set(project["keywords"])
    need(not missing, f"add {', '.join(missing)} to the keywords in pyproject.toml")


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("name", FILES)
def test_every_gateway_has_its_files(name, gateway):
    """Each gateway has a sample, test vectors, an event for `make local`, and its own test file."""
    file = ROOT / name.format(name=gateway)
    made = "with `.venv/bin/python -m tests.lambda_entrypoints.events`" if "events" in name else "as for other gateways"
    need(file.is_file(), f"write {name.format(name=gateway)} {made}")
    if file.suffix != ".json":
        return
    content = json.loads(file.read_text("utf-8"))
    known = {record["name"] for record in content} if name.endswith("samples.json") else {gateway}
    need(gateway in known, f"add an entry with the name {gateway} to {name}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_key_of_the_gateway_that_is_not_utf_8_is_refused(gateway):
    """The command line refuses a gateway variable that is not UTF-8, and so never passes such a key to a library."""
    accepted = [field.env for field in GATEWAYS[gateway].fields if not is_refused(field.env)]
    need(
        not accepted,
        f"add {gateway} to formats.py: PROVIDERS, and let {', '.join(accepted)} begin with {gateway.upper()}_",
    )


def is_refused(variable: str) -> bool:
    """Return whether payctl refuses a value of this variable if it is not UTF-8."""
    try:
        require_utf8((), {variable: "\udcff"})
    except InputError:
        return True
    return False


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_command_line_knows_where_the_webhook_s_address_is_entered(gateway):
    """`gateways register-webhook` works for PayOS.

    For any other gateway, the command says where to enter the address.
    """
    run = CliRunner().invoke(app, ["gateways", "register-webhook", gateway, "https://pay.example.com"])
    bug = run.exit_code == 1
    need(not bug, f"add {gateway} to ticketbottle_payctl/cli/commands/gateways/command.py: _ELSEWHERE")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_forgery_goes_to_the_gateway_s_own_path(gateway):
    """For each gateway, the probe sends the forged callback to the path that this gateway calls."""
    need(gateway in FORGERIES, f"add {gateway} to lambda_entrypoints/forgeries.py: FORGERIES")
    assert FORGERIES[gateway].path == f"/webhook/{gateway}"
