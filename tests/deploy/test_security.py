"""Test the stack's permissions, network rules and outputs."""

from __future__ import annotations

import json
import re

import pytest

ANYWHERE = {
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
"""The actions that IAM cannot limit to a resource."""


def listed(value):
    """Return a list with only the value, or the value itself if it is already a list."""
    return value if isinstance(value, list) else [value]


def test_no_role_allows_every_action_or_resource(statements):
    """In the roles, no action contains "*".

    The resource is "*" only for actions that IAM cannot limit to a resource.
    """
    for logical, statement in statements:
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions), logical
        assert "*" not in listed(statement["Resource"]) or set(actions) <= ANYWHERE, logical


def test_each_function_has_its_own_role(functions):
    """Each function has its own role, so no function has another function's permissions."""
    roles = {name: function["Role"]["Fn::GetAtt"][0] for name, function in functions.items()}
    assert len(set(roles.values())) == len(functions)


@pytest.mark.parametrize(
    ("role", "secrets"),
    [
        ("WebhookRole", {"WebhookDatabase", "Gateway"}),
        ("PublishOutboxRole", {"OutboxDatabase", "Kafka"}),
        ("CleanupRole", {"CleanupDatabase"}),
        ("WatchPaymentsRole", {"WatchDatabase"}),
        ("ReconcilePaymentsRole", {"ReconcileDatabase", "ReconcileGateway"}),
    ],
)
def test_a_function_s_role_can_read_only_its_own_secrets(statements, role, secrets):
    """A function's role can read only its own secrets. An attacker in one function cannot read the other secrets."""
    read = [each for logical, each in statements if logical == role and "GetSecretValue" in json.dumps(each)]
    named = re.findall(r'"Ref": "(\w+SecretArn)"', json.dumps(read))
    assert {name.removeprefix("Previous").removesuffix("SecretArn") for name in named} == secrets


def test_a_function_s_role_can_read_each_secret_of_its_environment(inside, statements):
    """A function's role can read every secret in the function's environment."""
    for function in inside.values():
        role = function["Role"]["Fn::GetAtt"][0]
        allowed = json.dumps([each for logical, each in statements if logical == role])
        named = re.findall(r'"Ref": "(\w+SecretArn)"', json.dumps(function["Environment"]))
        assert named
        assert [name for name in named if f'"Ref": "{name}"' not in allowed] == []


def test_the_functions_can_connect_to_three_security_groups_only(of_type):
    """The functions can connect only to the database, Kafka and endpoint security groups, each on a single port."""
    groups = of_type("EC2::SecurityGroup")
    rules = [rule for group in groups.values() for rule in group["SecurityGroupEgress"]]
    assert {rule["DestinationSecurityGroupId"]["Ref"] for rule in rules} == {
        "DatabaseSecurityGroupId",
        "KafkaSecurityGroupId",
        "EndpointSecurityGroupId",
    }
    assert all(rule["FromPort"] == rule["ToPort"] and rule["IpProtocol"] == "tcp" for rule in rules)
    assert not any("Cidr" in key for rule in rules for key in rule)
    assert not any("SecurityGroupIngress" in group for group in groups.values())


def test_only_the_processor_reaches_kafka(functions, inside):
    """Only the publisher's function can reach the brokers. The webhook cannot, because it is open to the internet."""
    kafka = {"Ref": "ProcessorSecurityGroup"}
    reaching = [name for name, each in functions.items() if kafka in each["VpcConfig"].get("SecurityGroupIds", [])]
    assert reaching == ["PublishOutboxFunction"]
    for function in inside.values():
        assert {"Ref": "FunctionSecurityGroup"} in function["VpcConfig"]["SecurityGroupIds"]


@pytest.mark.parametrize(
    ("name", "services"),
    [("Probe", {"logs", "xray", "kms", "sqs"}), ("BeforeTraffic", {"logs", "xray", "kms", "lambda", "codedeploy"})],
)
def test_a_function_outside_the_vpc_has_no_secret(functions, statements, name, services):
    """A function with internet access cannot read secrets, send alerts or reach the database."""
    probe = functions[f"{name}Function"]
    assert probe["VpcConfig"] == {"Ref": "AWS::NoValue"}
    variables = probe["Environment"]["Variables"]
    assert [name for name in variables if name.endswith("_SECRET_ARN")] == []
    assert variables["PAYCTL_ALERTS_TOPIC_ARN"] == {"Ref": "AWS::NoValue"}
    may = {action for role, each in statements if role == f"{name}Role" for action in listed(each["Action"])}
    assert {action.split(":")[0] for action in may} == services
    assert probe["Role"] == {"Fn::GetAtt": [f"{name}Role", "Arn"]}


def test_every_role_has_the_permissions_boundary_and_a_limited_trust_policy(of_type):
    """Every role has the company's permissions boundary. A service can assume a role only on behalf of this account."""
    for logical, role in of_type("IAM::Role").items():
        assert role["PermissionsBoundary"]["Fn::If"][0] == "HasBoundary", logical
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = trust["Principal"]["Service"]
        assert trust["Principal"].keys() == {"Service"}
        assert service == "lambda.amazonaws.com" or "aws:SourceAccount" in json.dumps(trust["Condition"])


def test_the_scheduler_invokes_the_scheduled_functions(statements, of_type):
    """The scheduler's role can only invoke the scheduled functions."""
    invoked = [each for logical, each in statements if logical == "SchedulerRole" and "Invoke" in json.dumps(each)]
    targets = {each["Target"]["Arn"]["Fn::GetAtt"][0] for each in of_type("Scheduler::Schedule").values()}
    named = [each["Fn::If"][1] if "Fn::If" in each else each for each in invoked[0]["Resource"]]
    assert {each["Fn::GetAtt"][0] for each in named} == targets


def test_code_signing_and_encryption_keys_are_parameters(functions, of_type):
    """Parameters set the code signing configuration and the KMS key.

    Without a KMS key, the stack uses AWS's own encryption.
    """
    for function in functions.values():
        assert function["CodeSigningConfigArn"]["Fn::If"][:2] == ["HasCodeSigning", {"Ref": "CodeSigningConfigArn"}]
        assert function["KmsKeyArn"]["Fn::If"][:2] == ["HasKms", {"Ref": "KmsKeyArn"}]
    for encrypted in (of_type("Logs::LogGroup"), of_type("SQS::Queue"), of_type("SNS::Topic")):
        assert all('"HasKms"' in json.dumps(each) for each in encrypted.values())


def test_no_template_parameter_is_a_secret_value(template):
    """No template parameter holds a secret value."""
    named = [name for name in template["Parameters"] if re.search("Password|Secret|Key|Token", name)]
    assert [name for name in named if not name.endswith(("Arn", "CodeKey", "LayerKey"))] == []
    assert not any("NoEcho" in parameter for parameter in template["Parameters"].values())


def test_the_stack_s_outputs_show_no_secret(template):
    """No stack output contains a secret, because many people can read outputs."""
    assert not re.search("Secret|Password", json.dumps(template["Outputs"]))
