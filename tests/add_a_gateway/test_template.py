"""Test that the template of the stack has every gateway's routes and keys."""

from __future__ import annotations

import pytest

from tests.add_a_gateway.missing import ROOT, need, report
from tests.add_a_gateway.places import PLACES_IN_THE_TEMPLATE
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("place", PLACES_IN_THE_TEMPLATE)
def test_the_template_has_the_gateway_s_routes(place, gateway):
    """The public API and the hidden API have a route for each gateway. Each public route has its own request limit."""
    wanted = place.format(name=gateway)
    text = (ROOT / "deploy/template.yaml").read_text("utf-8")
    need(wanted in text, f"add a line to deploy/template.yaml: {wanted.strip()}")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_template_names_the_gateway_s_keys(gateway):
    """Each function that reads a key gets the ARN of the key's secret, and `sam local` can set the key directly."""
    text = (ROOT / "deploy/template.yaml").read_text("utf-8")
    problems = []
    for field in GATEWAYS[gateway].fields:
        asks = gateway in QUERIES and field.name in QUERIES[gateway].needs
        readers = field.signs_callbacks + asks
        more = "" if gateway in QUERIES else ", and once more if the status query needs this key"
        problems += [
            f"deploy/template.yaml needs {count(readers, 'time')}{more}: {line.strip()}"
            for line in (f" {field.env}_SECRET_ARN: !Ref ", f" {field.env}: *for-sam-local")
            if text.count(line) != readers or more
        ]
    report(problems)
