"""A domain of one's own in front of the API, as an option."""

from __future__ import annotations

import json
import re
import secrets

import pytest

from ticketbottle_payctl.domain.callback import Request
from ticketbottle_payctl.providers import GATEWAYS, resolve

OUTPUTS = {"ZaloPayCallback": "zalopay", "PayOsWebhook": "payos", "VnPayIpn": "vnpay", "MoMoIpn": "momo"}


def stages(of_type):
    """The stages by the API that they belong to."""
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
    """The open addresses are at the top of the domain, the hidden ones under the present and the previous path."""
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


def test_the_hidden_api_has_every_gateway_and_limits_of_its_own(of_type):
    """A gateway's callbacks under the hidden path share no bucket with a stranger's under the open one."""
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
    """Its own address is closed, and so is the other API's if the open addresses are switched off."""
    apis = of_type("ApiGatewayV2::Api")
    assert apis["HiddenApi"]["DisableExecuteApiEndpoint"] is True
    closed = {"disableExecuteApiEndpoint": {"Fn::If": ["HasOpenPaths", False, True]}}
    assert closed in [each.get("x-amazon-apigateway-endpoint-configuration") for each in apis["Api"]["Body"]["servers"]]


@pytest.mark.parametrize("path", ["/webhook/zalopay", "/a-hidden-path-of-24-chars/webhook/zalopay"])
def test_the_webhook_knows_the_gateway_under_any_path(path):
    """API Gateway may pass on the path with the mapping's key or without it."""
    assert resolve(Request("POST", path, "", b"")).name == "zalopay"


@pytest.mark.parametrize("name", ["HiddenPath", "PreviousHiddenPath"])
def test_a_hidden_path_is_long_enough(template, name):
    """Sixteen random bytes, as text: nobody guesses it. A short word is refused."""
    pattern = template["Parameters"][name]["AllowedPattern"]
    assert re.fullmatch(pattern, secrets.token_urlsafe(16))
    assert re.fullmatch(pattern, "")
    assert not any(re.fullmatch(pattern, each) for each in ("payments", "a/b" * 10, "x" * 21, "x" * 65))


@pytest.mark.parametrize(("output", "path"), OUTPUTS.items())
def test_the_outputs_name_the_address_that_the_gateways_call(template, output, path):
    """It is the hidden one if there is one, else the domain's, else the API's own."""
    text, values = template["Outputs"][output]["Value"]["Fn::Sub"]
    assert text == f"https://${{Host}}${{Prefix}}/webhook/{path}"
    condition, domain, own = values["Host"]["Fn::If"]
    assert (condition, domain) == ("HasDomain", {"Ref": "DomainName"})
    assert own["Fn::Sub"].startswith("${Api}.execute-api.")
    assert values["Prefix"] == {"Fn::If": ["HasHiddenPath", {"Fn::Sub": "/${HiddenPath}"}, ""]}


def test_the_probe_comes_in_by_the_same_address(functions, template):
    """A certificate that expired or a record that was deleted closes the door too."""
    text, values = functions["ProbeFunction"]["Environment"]["Variables"]["PAYCTL_PROBE_URL"]["Fn::Sub"]
    assert text == "https://${Host}${Prefix}"
    assert values == template["Outputs"]["ZaloPayCallback"]["Value"]["Fn::Sub"][1]


@pytest.mark.parametrize(
    ("rule", "parameter"),
    [("ADomainNeedsACertificate", "CertificateArn"), ("ProductionTellsSomebody", "AlarmEmail")],
)
def test_what_is_needed_together_is_asked_for(template, rule, parameter):
    """CloudFormation refuses the deployment and says which parameter is empty."""
    ((assertion,),) = [template["Rules"][rule]["Assertions"]]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
    assert parameter in assertion["AssertDescription"]


def test_production_bounds_the_webhook(template):
    """Without a bound a flood would open as many database connections as there are webhooks."""
    (assertion,) = template["Rules"]["ProductionBoundsItsConnections"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedWebhook"}, 0]}]}


def test_no_metric_is_paid_for_that_nobody_reads(of_type):
    """Metrics of each route cost extra, and no alarm and no graph uses them."""
    assert "DetailedMetricsEnabled" not in json.dumps(of_type("ApiGatewayV2::Stage"))
    assert "Route" not in json.dumps(of_type("CloudWatch::Alarm"))
