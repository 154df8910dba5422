"""Test that each template parameter accepts only valid values, and that the right functions get the values."""

from __future__ import annotations

import re

import pytest

from ticketbottle_payctl import settings
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.providers.queries import QUERIES

SECRET = "arn:aws:secretsmanager:ap-southeast-1:111122223333:secret:"
CLUSTER = "arn:aws:kafka:ap-southeast-1:111122223333:cluster/payments/"
KEY = "arn:aws:kms:ap-southeast-1:111122223333:key/"
SIGNING = "arn:aws:lambda:ap-southeast-1:111122223333:code-signing-config:"
SECRETS = (
    *("WebhookDatabaseSecretArn", "OutboxDatabaseSecretArn", "CleanupDatabaseSecretArn", "WatchDatabaseSecretArn"),
    "GatewaySecretArn",
)
OPTIONAL = ("KafkaSecretArn", "ReconcileDatabaseSecretArn", "ReconcileGatewaySecretArn")
URLS = {"zalopay": "ZaloPayUrl", "payos": "PayOsUrl", "vnpay": "VnPayUrl", "momo": "MoMoUrl"}
"""The parameter that contains each gateway's address for status queries."""

MAYBE_SECRETS = (*OPTIONAL, *(f"Previous{name}" for name in (*SECRETS, *OPTIONAL)))


def cases(names, accepted, refused):
    """Return one case for each parameter and value, as ``(name, value, accepted)``."""
    return [
        (name, value, expected)
        for name in names
        for expected in (True, False)
        for value in (accepted if expected else refused)
    ]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        *cases(
            (*SECRETS, *MAYBE_SECRETS),
            [
                f"{SECRET}payctl/prod/gateways-AbCdEf",
                f"{SECRET}AmazonMSK_payctl-a1B2c3",
                f"{SECRET}rds!cluster-4f-x9y8z7",
                f"{SECRET}a+b=c.d@e-123456",
            ],
            [
                f"{SECRET}payctl/prod/gateways",
                f"{SECRET}payctl/prod/database",
                f"{SECRET}x-AbCdE",
                "payctl/prod/gateways-AbCdEf",
                SECRET,
            ],
        ),
        *cases(SECRETS, [], [""]),
        *cases(MAYBE_SECRETS, [""], []),
        *cases(
            ["KafkaClusterArn"],
            [
                "",
                f"{CLUSTER}279c0212-d057-4dba-9aa9-1c4e5a25bfc7-3",
                f"{CLUSTER}279c0212-d057-4dba-9aa9-1c4e5a25bfc7-s1",
            ],
            [CLUSTER, f"{CLUSTER}a/b", f"{CLUSTER}a b", CLUSTER.replace("cluster", "topic") + "a"],
        ),
        *cases(
            ["KmsKeyArn", "PreviousKmsKeyArn"],
            ["", f"{KEY}1234abcd-12ab-34cd-56ef-1234567890ab", f"{KEY}mrk-1234abcd12ab34cd56ef1234567890ab"],
            ["alias/payctl", KEY.replace("key/", "alias/payctl"), "1234abcd-12ab-34cd-56ef-1234567890ab", KEY],
        ),
        *cases(
            ["PermissionsBoundaryArn"],
            ["", "arn:aws:iam::111122223333:policy/team/boundary", "arn:aws:iam::aws:policy/PowerUserAccess"],
            ["boundary", "arn:aws:iam::111122223333:role/boundary", "arn:aws:iam::111122223333:policy/"],
        ),
        *cases(
            ["CodeSigningConfigArn"],
            ["", f"{SIGNING}csc-0f6c334abcdea4d8b"],
            [f"{SIGNING}csc-", f"{SIGNING}0f6c334abcdea4d8b", "csc-0f6c334abcdea4d8b"],
        ),
        *cases(["GatewaySecurityGroupId"], ["", "sg-0a1b2c3d"], ["0a1b2c3d", "sg-", "payctl egress"]),
        *cases(
            URLS.values(),
            ["", "https://out.example.com/zalopay", "https://out.example.com:8443"],
            [
                "http://out.example.com",
                "out.example.com",
                "https://",
                "https://u:p@out.example.com",
                "https://a.b/?x=1",
            ],
        ),
        *cases(["AlarmEmail"], ["", "on-call@shop.vn"], ["nope", "on-call@shop", "on call@shop.vn", "@shop.vn"]),
        *cases(["KafkaCaFile"], ["", "/opt/payctl-ca.pem"], ["payctl-ca.pem", "/opt/my ca.pem"]),
        *cases(["DatabaseCaFile"], ["/opt/payctl-ca.pem"], ["", "payctl-ca.pem"]),
        *cases(
            ["KafkaBrokers"],
            ["b-1.example:9098", "b-1.example:9098,b-2.example:9098", "10.0.0.1:9092"],
            [
                "",
                "b-1.example",
                "b-1.example:9098,",
                "b-1.example:9098,b-2.example",
                "b-1.example:9098 b-2.example:9098",
                "ssl://b-1.example:9",
            ],
        ),
    ],
)
def test_the_template_refuses_an_invalid_parameter(template, name, value, accepted):
    """The pattern of a template parameter refuses an invalid value, which would otherwise fail when a function runs."""
    assert bool(re.fullmatch(template["Parameters"][name]["AllowedPattern"], value)) is accepted


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_each_gateway_s_url_parameter_reaches_the_function_that_asks(functions, gateway):
    """The function that queries the gateways gets each gateway's address from the gateway's own parameter."""
    variables = functions["ReconcilePaymentsFunction"]["Environment"]["Variables"]
    parameter = URLS[gateway]
    expected = {"Fn::If": [f"Has{parameter}", {"Ref": parameter}, {"Ref": "AWS::NoValue"}]}
    assert variables[QUERIES[gateway].url_variable] == expected


@pytest.mark.parametrize("value", ["b-1.example:9098", "b-1.example:9098,b-2.example:9098"])
def test_the_template_and_the_code_accept_the_same_list_of_brokers(template, value):
    """The template's pattern and the code accept one broker or a comma-separated list of brokers."""
    assert re.fullmatch(template["Parameters"]["KafkaBrokers"]["AllowedPattern"], value)
    assert settings.Settings.from_env({"KAFKA_BROKERS": value}).kafka.brokers == value


def test_every_function_but_the_publisher_and_the_cleanup_can_return_its_connection(template, functions):
    """KeepConnections becomes the PAYCTL_DB_POOL variable of each function that can connect through RDS Proxy."""
    given = {name for name, one in functions.items() if "PAYCTL_DB_POOL" in one["Environment"]["Variables"]}
    assert given == {"WebhookFunction", "WatchPaymentsFunction", "ReconcilePaymentsFunction"}
    assert template["Parameters"]["KeepConnections"]["Default"] == "true"


def test_every_arn_has_a_pattern(template):
    """Every ARN parameter has a pattern, so CloudFormation names a mistyped ARN before it creates any resource."""
    arns = {name: one for name, one in template["Parameters"].items() if name.endswith("Arn")}
    assert len(arns) > 10
    assert [name for name, one in arns.items() if "AllowedPattern" not in one] == []


def test_every_pattern_has_a_description(template):
    """The error for each parameter with a pattern describes the allowed values."""
    patterns = {name: one for name, one in template["Parameters"].items() if "AllowedPattern" in one}
    assert {name: one.get("ConstraintDescription", "")[:8] for name, one in patterns.items()} == dict.fromkeys(
        patterns, "must be "
    )


def test_the_publisher_s_reserved_concurrency_says_which_value_is_refused(template):
    """The template refuses a reserved concurrency of 1 for the publisher, and the parameter's description says so."""
    (assertion,) = template["Rules"]["TicksOverlap"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "ReservedProcessor"}, 1]}]}
    assert "1 is not allowed" in template["Parameters"]["ReservedProcessor"]["Description"]


def test_a_private_authority_reaches_the_kafka_client(functions):
    """KafkaCaFile becomes the KAFKA_CA_FILE variable of the publisher's function.

    If KafkaCaFile is empty, the variable is not set.
    """
    given = {name: each["Environment"]["Variables"].get("KAFKA_CA_FILE") for name, each in functions.items()}
    expected = {"Fn::If": ["HasKafkaCa", {"Ref": "KafkaCaFile"}, {"Ref": "AWS::NoValue"}]}
    assert {name: value for name, value in given.items() if value} == {"PublishOutboxFunction": expected}
    assert settings.Settings.from_env({"KAFKA_BROKERS": "a:1", "KAFKA_CA_FILE": "/x.pem"}).kafka.ca_file == "/x.pem"


def test_only_the_publisher_s_schedule_can_be_paused_and_a_tick_ends_before_the_next_one(template, of_type):
    """PublishScheduleState pauses only the publisher's schedule.

    LoopSeconds is shorter than the schedule's one-minute interval.
    """
    schedules = of_type("Scheduler::Schedule")
    paused = {name: one for name, one in schedules.items() if "State" in one}
    (publisher,) = paused.values()
    assert publisher["State"] == {"Fn::If": ["PublishesHere", {"Ref": "PublishScheduleState"}, "DISABLED"]}
    assert publisher["Name"] == {"Fn::Sub": "${AWS::StackName}-publish-outbox"}
    assert publisher["ScheduleExpression"] == "rate(1 minute)"
    assert template["Parameters"]["PublishScheduleState"]["Default"] == "ENABLED"
    assert template["Parameters"]["LoopSeconds"]["MaxValue"] < 60


def test_each_parameter_has_a_description(template):
    """A deployer reads in the template what each parameter means."""
    assert [name for name, parameter in template["Parameters"].items() if not parameter.get("Description")] == []
