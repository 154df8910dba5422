"""Test that the template's scheduled repair is off by default, never overlaps, and has its own security group."""

from __future__ import annotations

import json

from deploy.alarms import ALARMS
from ticketbottle_payctl.metrics import METRICS, Function
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES

CONDITION = "ReconcilesPayments"


def test_the_scheduled_repair_is_absent_by_default(template):
    """Each resource of the scheduled repair, and each reference to one, depends on the ReconcilesPayments condition."""
    assert template["Parameters"]["ReconcilePayments"]["Default"] == "false"
    assert template["Conditions"][CONDITION] == {"Fn::Equals": [{"Ref": "ReconcilePayments"}, "true"]}
    own = {name for name, one in template["Resources"].items() if one.get("Condition") == CONDITION}
    assert {"ReconcilePaymentsFunction", "ReconcilePaymentsRole", "ReconcilePaymentsLogGroup"} <= own
    assert {alarm.logical_id for alarm in ALARMS if alarm.condition == CONDITION} <= own
    assert {name for name in template["Resources"] if name.startswith("Reconcile")} == own
    for name, one in template["Resources"].items():
        if name not in own:
            left = json.dumps(without(one))
            assert not any(f'"{mine}"' in left or f"${{{mine}" in left for mine in own), name


def without(node):
    """Return a template node without the parts that depend on the condition."""
    if isinstance(node, dict):
        if node.get("Fn::If", [None])[0] == CONDITION:
            return without(node["Fn::If"][2])
        return {name: without(value) for name, value in node.items()}
    return [without(each) for each in node] if isinstance(node, list) else node


def test_the_scheduled_repair_needs_its_secrets_and_internet_access(template):
    """CloudFormation refuses a stack with `ReconcilePayments=true` if a parameter for the function is missing."""
    rule = template["Rules"]["ReconcilingNeedsSecretsAndAWayOut"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "ReconcilePayments"}, "true"]}
    asked = {each["Assert"]["Fn::Not"][0]["Fn::Equals"][0]["Ref"] for each in rule["Assertions"]}
    assert asked == {"ReconcileDatabaseSecretArn", "ReconcileGatewaySecretArn", "GatewaySecurityGroupId"}


def test_only_the_scheduled_repair_reaches_the_gateways_and_it_runs_once_at_a_time(functions):
    """Only the `reconcile-payments` function has the security group that reaches the gateways.

    This function can also run in other subnets.
    """
    function = functions["ReconcilePaymentsFunction"]
    assert function["ReservedConcurrentExecutions"] == 1
    assert function["VpcConfig"]["SubnetIds"]["Fn::If"] == [
        "HasReconcileSubnets", {"Ref": "ReconcileSubnetIds"}, {"Ref": "SubnetIds"},
    ]  # fmt: skip
    out = {"Ref": "GatewaySecurityGroupId"}
    assert [name for name, one in functions.items() if out in one["VpcConfig"].get("SecurityGroupIds", [])] == [
        "ReconcilePaymentsFunction"
    ]


def test_the_scheduled_repair_gets_every_key_and_address_of_the_queries(functions):
    """`reconcile-payments` gets a secret with exactly the credentials that it needs to query the gateways."""
    variables = functions["ReconcilePaymentsFunction"]["Environment"]["Variables"]
    needed = {
        field.env for name, query in QUERIES.items() for field in GATEWAYS[name].fields if field.name in query.needs
    }
    given = {name for name, value in variables.items() if value == {"Ref": "ReconcileGatewaySecretArn"}}
    assert given == {f"{name}_SECRET_ARN" for name in needed}
    chosen = {name: value["Fn::If"][1]["Ref"] for name, value in variables.items() if "Fn::If" in value}
    addresses = {name: parameter for name, parameter in chosen.items() if name.endswith("_URL")}
    assert addresses.keys() == {query.url_variable for query in QUERIES.values()}
    assert len(set(addresses.values())) == len(addresses)


def test_each_bad_result_of_the_scheduled_repair_has_an_alarm():
    """A repair plan that exceeds the cap pages an operator.

    Other results that an operator must check send an email.
    """
    watched = {alarm.watch.name: alarm.pages for alarm in ALARMS if alarm.watch.name.startswith("Reconcile")}
    emitted = {metric.name for metric in METRICS if metric.functions == (Function.RECONCILE_PAYMENTS,)}
    assert emitted - watched.keys() == {"ReconcileSettled", "ReconcileOpen"}
    assert [name for name, pages in watched.items() if pages] == ["ReconcileOverCap"]
