"""Test the stack's optional custom domain for the API."""

from __future__ import annotations

import json
import re
import secrets

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS, resolve

OUTPUTS = {"zalopay": "ZaloPayCallback", "payos": "PayOsWebhook", "vnpay": "VnPayIpn", "momo": "MoMoIpn"}
"""The stack output that contains each gateway's address."""


def stages(of_type):
    """Return a dictionary that maps each API's logical id to its stage's logical id and properties."""
    return {one["ApiId"]["Ref"]: (name, one) for name, one in of_type("ApiGatewayV2::Stage").items()}


@pytest.mark.parametrize(
    ("mapping", "api", "key", "condition"),
    [
        ("DomainMapping", "Api", None, "HasOpenDomain"),
        ("HiddenMapping", "HiddenApi", {"Ref": "HiddenPath"}, "HasHiddenPath"),
        ("PreviousHiddenMapping", "HiddenApi", {"Ref": "PreviousHiddenPath"}, "HadHiddenPath"),
    ],
)
def test_the_domain_leads_to_the_apis(template, of_type, mapping, api, key, condition):
    """Open addresses start at the custom domain's root.

    Hidden addresses start with the current or the previous hidden path.
    """
    ((name, domain),) = of_type("ApiGatewayV2::DomainName").items()
    (configuration,) = domain["DomainNameConfigurations"]
    assert configuration["CertificateArn"] == {"Ref": "CertificateArn"}
    assert configuration["SecurityPolicy"] == "TLS_1_2"
    assert template["Resources"][name]["Condition"] == "HasDomain"
    found = template["Resources"][mapping]
    stage_name, stage = stages(of_type)[api]
    assert found["Properties"].get("ApiMappingKey") == key
    assert found["Properties"]["DomainName"] == {"Ref": name}
    assert (found["Properties"]["ApiId"], found["Properties"]["Stage"]) == ({"Ref": api}, stage["StageName"])
    assert (found["Condition"], found["DependsOn"]) == (condition, stage_name)


def test_the_hidden_api_has_every_gateway_and_its_own_limits(of_type):
    """The hidden API has a separate rate limit, so requests to the open address cannot use up this limit."""
    routes = {one["RouteKey"]: one for one in of_type("ApiGatewayV2::Route").values()}
    gateways = {resolve(Request(*key.split(" "), "", b"")).name for key in routes}
    assert gateways == set(GATEWAYS)
    assert {one["ApiId"]["Ref"] for one in routes.values()} == {"HiddenApi"}
    apis = stages(of_type)
    hidden, plain = apis["HiddenApi"][1], apis["Api"][1]
    assert hidden["DefaultRouteSettings"] == plain["DefaultRouteSettings"]
    assert hidden["AccessLogSettings"] == plain["AccessLogSettings"]
    (integration,) = of_type("ApiGatewayV2::Integration").values()
    assert integration["IntegrationUri"] == {"Ref": "WebhookFunctionAliaslive"}
    assert (integration["PayloadFormatVersion"], integration["TimeoutInMillis"]) == ("2.0", 12_000)


def test_only_the_hidden_path_leads_to_the_hidden_api(of_type):
    """The hidden API's own address is closed.

    If open addresses are turned off, the open API's address is closed too.
    """
    apis = of_type("ApiGatewayV2::Api")
    assert apis["HiddenApi"]["DisableExecuteApiEndpoint"] is True
    closed = {"disableExecuteApiEndpoint": {"Fn::If": ["HasOpenPaths", False, True]}}
    assert closed in [each.get("x-amazon-apigateway-endpoint-configuration") for each in apis["Api"]["Body"]["servers"]]


@pytest.mark.parametrize("path", ["/webhook/zalopay", "/a-hidden-path-of-24-chars/webhook/zalopay"])
def test_the_webhook_recognises_the_gateway_below_a_hidden_path(path):
    """The webhook recognises the gateway in a path with or without the hidden prefix."""
    assert resolve(Request("POST", path, "", b"")).name == "zalopay"


@pytest.mark.parametrize("name", ["HiddenPath", "PreviousHiddenPath"])
def test_a_short_hidden_path_is_refused(template, name):
    """A hidden path must be at least as long as sixteen random bytes in Base64, so that nobody can guess it."""
    pattern = template["Parameters"][name]["AllowedPattern"]
    assert re.fullmatch(pattern, secrets.token_urlsafe(16))
    assert re.fullmatch(pattern, "")
    assert not any(re.fullmatch(pattern, each) for each in ("payments", "a/b" * 10, "x" * 21, "x" * 65))


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_stack_s_outputs_have_the_address_for_the_gateways(template, gateway):
    """The stack's outputs show the hidden address.

    Without one, they show the domain's address or, failing that, the API's own address.
    """
    text, values = template["Outputs"][OUTPUTS[gateway]]["Value"]["Fn::Sub"]
    assert text == f"https://${{Host}}${{Prefix}}/webhook/{gateway}"
    condition, domain, own = values["Host"]["Fn::If"]
    assert (condition, domain) == ("HasDomain", {"Ref": "DomainName"})
    assert own["Fn::Sub"].startswith("${Api}.execute-api.")
    assert values["Prefix"] == {"Fn::If": ["HasHiddenPath", {"Fn::Sub": "/${HiddenPath}"}, ""]}


def test_the_probe_calls_the_address_that_the_gateways_call(functions, template):
    """The probe calls the same address as the gateways, so the probe also detects an expired certificate."""
    text, values = functions["ProbeFunction"]["Environment"]["Variables"]["PAYCTL_PROBE_URL"]["Fn::Sub"]
    assert text == "https://${Host}${Prefix}"
    assert values == template["Outputs"]["ZaloPayCallback"]["Value"]["Fn::Sub"][1]


@pytest.mark.parametrize(
    ("rule", "parameter"),
    [("ADomainNeedsACertificate", "CertificateArn"), ("ProductionTellsSomebody", "AlarmEmail")],
)
def test_the_template_refuses_an_empty_parameter_that_is_needed(template, rule, parameter):
    """CloudFormation reports a required parameter that is empty.

    A domain needs CertificateArn, and production needs AlarmEmail.
    """
    ((assertion,),) = [template["Rules"][rule]["Assertions"]]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
    assert parameter in assertion["AssertDescription"]


def test_production_needs_a_limit_of_concurrent_webhooks(template):
    """Production needs a concurrency limit.

    Otherwise, each webhook in a flood could open its own database connection.
    """
    (assertion,) = template["Rules"]["ProductionBoundsItsConnections"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedWebhook"}, 0]}]}


def test_the_api_has_no_metrics_for_each_route(of_type):
    """The API has no per-route metrics, because they cost extra and no alarm or graph would use them."""
    assert "DetailedMetricsEnabled" not in json.dumps(of_type("ApiGatewayV2::Stage"))
    assert "Route" not in json.dumps(of_type("CloudWatch::Alarm"))
