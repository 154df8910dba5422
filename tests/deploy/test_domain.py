"""A domain of one's own in front of the API, as an option."""

from __future__ import annotations

import json

import pytest

OUTPUTS = {"ZaloPayCallback": "zalopay", "PayOsWebhook": "payos", "VnPayIpn": "vnpay", "MoMoIpn": "momo"}


def test_the_domain_leads_to_the_api(template, of_type):
    """Name, certificate and mapping come together, only if a name is given."""
    ((name, domain),) = of_type("ApiGatewayV2::DomainName").items()
    ((mapping_name, mapping),) = of_type("ApiGatewayV2::ApiMapping").items()
    assert domain["DomainName"] == {"Ref": "DomainName"}
    (configuration,) = domain["DomainNameConfigurations"]
    assert configuration["CertificateArn"] == {"Ref": "CertificateArn"}
    assert configuration["SecurityPolicy"] == "TLS_1_2"
    assert (mapping["DomainName"], mapping["ApiId"]) == ({"Ref": name}, {"Ref": "Api"})
    assert "ApiMappingKey" not in mapping  # the path would begin with it
    ((stage_name, stage),) = of_type("ApiGatewayV2::Stage").items()
    assert (mapping["Stage"], template["Resources"][mapping_name]["DependsOn"]) == (stage["StageName"], stage_name)
    assert {template["Resources"][each]["Condition"] for each in (name, mapping_name)} == {"HasDomain"}


@pytest.mark.parametrize(("output", "path"), OUTPUTS.items())
def test_the_outputs_name_the_address_that_the_gateways_call(template, output, path):
    """It is the domain's if there is one, and otherwise the API's own."""
    text, values = template["Outputs"][output]["Value"]["Fn::Sub"]
    assert text == f"https://${{Host}}/webhook/{path}"
    condition, domain, own = values["Host"]["Fn::If"]
    assert (condition, domain) == ("HasDomain", {"Ref": "DomainName"})
    assert own["Fn::Sub"].startswith("${Api}.execute-api.")


def test_the_probe_comes_in_by_the_same_address(functions):
    """A certificate that expired or a record that was deleted closes the door too."""
    url = functions["ProbeFunction"]["Environment"]["Variables"]["PAYCTL_PROBE_URL"]["Fn::If"]
    assert url[:2] == ["HasDomain", {"Fn::Sub": "https://${DomainName}"}]


@pytest.mark.parametrize(
    ("rule", "parameter"), [("ADomainNeedsACertificate", "CertificateArn"), ("ProductionTellsSomebody", "AlarmEmail")]
)
def test_what_is_needed_together_is_asked_for(template, rule, parameter):
    """CloudFormation refuses the deployment and says which parameter is empty."""
    ((assertion,),) = [template["Rules"][rule]["Assertions"]]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
    assert parameter in assertion["AssertDescription"]


def test_no_metric_is_paid_for_that_nobody_reads(of_type):
    """Metrics of each route cost extra, and no alarm and no graph uses them."""
    (stage,) = of_type("ApiGatewayV2::Stage").values()
    assert "DetailedMetricsEnabled" not in json.dumps(stage)
    assert "Route" not in json.dumps(of_type("CloudWatch::Alarm"))
