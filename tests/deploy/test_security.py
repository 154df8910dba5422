"""What the stack may do, reach and show."""

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
"""Actions that know no resource."""


def listed(value):
    """One or many, as many."""
    return value if isinstance(value, list) else [value]


def test_no_role_may_do_everything(statements):
    """No star as action, and as resource only where an action knows none."""
    for logical, statement in statements:
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions), logical
        assert "*" not in listed(statement["Resource"]) or set(actions) <= ANYWHERE, logical


def test_each_function_has_a_role_of_its_own(functions):
    """What the webhook may, the processor may not."""
    roles = {name: function["Role"]["Fn::GetAtt"][0] for name, function in functions.items()}
    assert len(set(roles.values())) == len(functions)


@pytest.mark.parametrize(
    ("role", "secrets"),
    [
        ("WebhookRole", {"WebhookDatabase", "Gateway"}),
        ("PublishOutboxRole", {"OutboxDatabase", "Kafka"}),
        ("CleanupRole", {"CleanupDatabase"}),
        ("WatchPaymentsRole", {"WatchDatabase"}),
    ],
)
def test_a_role_reads_its_own_secrets(statements, role, secrets):
    """A leaked function gives away nothing of the others."""
    read = [each for logical, each in statements if logical == role and "GetSecretValue" in json.dumps(each)]
    named = re.findall(r'"Ref": "(\w+SecretArn)"', json.dumps(read))
    assert {name.removeprefix("Previous").removesuffix("SecretArn") for name in named} == secrets


def test_a_function_can_read_what_its_environment_names(inside, statements):
    """No secret is named that the role may not read."""
    for function in inside.values():
        role = function["Role"]["Fn::GetAtt"][0]
        allowed = json.dumps([each for logical, each in statements if logical == role])
        named = re.findall(r'"Ref": "(\w+SecretArn)"', json.dumps(function["Environment"]))
        assert named
        assert [name for name in named if f'"Ref": "{name}"' not in allowed] == []


def test_there_is_no_way_out_but_three(of_type):
    """Egress goes to the groups of database, Kafka and endpoints, to no address, and each port is one."""
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
    """The webhook stands on the internet's side, and has no way to the brokers."""
    kafka = {"Ref": "ProcessorSecurityGroup"}
    reaching = [name for name, each in functions.items() if kafka in each["VpcConfig"].get("SecurityGroupIds", [])]
    assert reaching == ["PublishOutboxFunction"]
    for function in inside.values():
        assert {"Ref": "FunctionSecurityGroup"} in function["VpcConfig"]["SecurityGroupIds"]


def test_the_function_outside_the_vpc_has_no_secret(functions, statements):
    """The probe comes from the internet, so it can read no secret, tell nobody and reach no database."""
    probe = functions["ProbeFunction"]
    assert probe["VpcConfig"] == {"Ref": "AWS::NoValue"}
    variables = probe["Environment"]["Variables"]
    assert [name for name in variables if name.endswith("_SECRET_ARN")] == []
    assert variables["PAYCTL_ALERTS_TOPIC_ARN"] == {"Ref": "AWS::NoValue"}
    may = {action for role, each in statements if role == "ProbeRole" for action in listed(each["Action"])}
    assert {action.split(":")[0] for action in may} == {"logs", "xray", "kms", "sqs"}
    assert probe["Role"] == {"Fn::GetAtt": ["ProbeRole", "Arn"]}


def test_every_role_has_the_boundary_and_names_who_takes_it(of_type):
    """The company's boundary holds for all, and a service may act only for this account."""
    for logical, role in of_type("IAM::Role").items():
        assert role["PermissionsBoundary"]["Fn::If"][0] == "HasBoundary", logical
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        service = trust["Principal"]["Service"]
        assert trust["Principal"].keys() == {"Service"}
        assert service == "lambda.amazonaws.com" or "aws:SourceAccount" in json.dumps(trust["Condition"])


def test_the_scheduler_invokes_the_scheduled_functions(statements, of_type):
    """Its role can start the scheduled functions, and nothing else."""
    invoked = [each for logical, each in statements if logical == "SchedulerRole" and "Invoke" in json.dumps(each)]
    targets = {each["Target"]["Arn"]["Fn::GetAtt"][0] for each in of_type("Scheduler::Schedule").values()}
    assert {each["Fn::GetAtt"][0] for each in invoked[0]["Resource"]} == targets


def test_signing_and_keys_are_the_companys(functions, of_type):
    """Signed code and a key of one's own are parameters; without them AWS's own encryption holds."""
    for function in functions.values():
        assert function["CodeSigningConfigArn"]["Fn::If"][:2] == ["HasCodeSigning", {"Ref": "CodeSigningConfigArn"}]
        assert function["KmsKeyArn"]["Fn::If"][:2] == ["HasKms", {"Ref": "KmsKeyArn"}]
    for encrypted in (of_type("Logs::LogGroup"), of_type("SQS::Queue"), of_type("SNS::Topic")):
        assert all('"HasKms"' in json.dumps(each) for each in encrypted.values())


def test_no_parameter_takes_a_secret(template):
    """What one would have to hide is not asked for."""
    named = [name for name in template["Parameters"] if re.search("Password|Secret|Key|Token", name)]
    assert [name for name in named if not name.endswith(("Arn", "CodeKey", "LayerKey"))] == []
    assert not any("NoEcho" in parameter for parameter in template["Parameters"].values())


def test_the_outputs_show_no_secret(template):
    """Outputs are read by many."""
    assert not re.search("Secret|Password", json.dumps(template["Outputs"]))
