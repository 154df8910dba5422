"""Test the requested features: VNPay, dead-letter queue, SNS, tracing, provisioned concurrency and rate limits."""

from __future__ import annotations

import json
import re

import pytest

from deploy.package import BUDGETS, CODE


def test_vnpay_has_a_route_and_its_keys(of_type, functions):
    """The API has a GET route for VNPay's callbacks, and the webhook function gets VNPay's keys."""
    api = of_type("ApiGatewayV2::Api")["Api"]
    assert api["Body"]["paths"]["/webhook/vnpay"].keys() == {"get"}
    variables = functions["WebhookFunction"]["Environment"]["Variables"]
    assert {"VNPAY_TMN_CODE_SECRET_ARN", "VNPAY_HASH_SECRET_SECRET_ARN"} <= variables.keys()


def test_dead_letter_queues_keep_messages_for_14_days(template, of_type, statements):
    """Both dead-letter queues keep messages for 14 days, are encrypted, and outlive the stack.

    Only the expected roles can send messages to them.
    """
    queues = of_type("SQS::Queue")
    assert sorted(queues) == ["DeadEventQueue", "InvocationDlq"]
    for name, queue in queues.items():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queue["SqsManagedSseEnabled"] == {"Fn::If": ["HasKms", {"Ref": "AWS::NoValue"}, True]}
        assert template["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert template["Resources"][name]["UpdateReplacePolicy"] == "Retain"
    senders = {logical for logical, each in statements if "sqs:SendMessage" in json.dumps(each)}
    assert senders == {
        *("PublishOutboxRole", "CleanupRole", "WatchPaymentsRole", "ReconcilePaymentsRole", "ProbeRole"),
        "SchedulerRole",
    }


def test_one_sns_topic_gets_all_alarms(template, of_type):
    """All alarms go to one topic.

    CloudWatch is allowed to publish to this topic, and an email address can subscribe.
    """
    assert list(of_type("SNS::Topic")) == ["AlarmTopic"]
    (subscription,) = of_type("SNS::Subscription").values()
    assert subscription["Protocol"] == "email"
    assert template["Resources"]["AlarmSubscription"]["Condition"] == "HasEmail"
    (policy,) = of_type("SNS::TopicPolicy").values()
    (alarms,) = policy["PolicyDocument"]["Statement"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert "aws:SourceAccount" in json.dumps(alarms["Condition"])


def test_alerts_from_the_code_are_switched_on_by_one_condition(functions, inside, statements):
    """A single template condition sets both the variables and the permissions for alerts that the code sends."""
    switch = "TellsDirectly"
    for function in inside.values():
        assert function["Environment"]["Variables"]["PAYCTL_ALERTS_TOPIC_ARN"]["Fn::If"][0] == switch
    queue = functions["PublishOutboxFunction"]["Environment"]["Variables"]["PAYCTL_DEAD_EVENTS_QUEUE_URL"]
    assert queue["Fn::If"][0] == switch
    assert "sns:Publish" in [each["Action"] for _, each in statements]


def test_every_function_traces_with_x_ray(functions, statements):
    """X-Ray tracing is on for each function, and each function's role is allowed to send segments."""
    for function in functions.values():
        assert function["TracingConfig"] == {"Mode": "Active"}
    senders = {logical for logical, each in statements if "xray:PutTraceSegments" in json.dumps(each)}
    assert senders == {"FunctionPolicy", "ProbeRole", "BeforeTrafficRole"}


def test_the_webhook_has_provisioned_concurrency_if_it_is_configured(template, of_type):
    """A parameter sets the number of provisioned environments. Autoscaling adds more environments under load."""
    (alias,) = of_type("Lambda::Alias").values()
    assert alias["Name"] == "live"
    chosen = alias["ProvisionedConcurrencyConfig"]["Fn::If"]
    assert chosen[:2] == ["HasProvisioned", {"ProvisionedConcurrentExecutions": {"Ref": "WebhookProvisioned"}}]
    (target,) = of_type("ApplicationAutoScaling::ScalableTarget").values()
    assert target["ResourceId"] == {"Fn::Sub": "function:${WebhookFunction}:live"}
    assert template["Resources"]["WebhookScaling"]["DependsOn"] == "WebhookFunctionAliaslive"
    (policy,) = of_type("ApplicationAutoScaling::ScalingPolicy").values()
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] < 1


def test_every_route_has_a_rate_limit(of_type, functions):
    """Every route of the API has a rate limit, and throttled requests set off an alarm."""
    stage = of_type("ApiGatewayV2::Stage")["ApiApiGatewayDefaultStage"]
    api = of_type("ApiGatewayV2::Api")["Api"]
    routes = {f"{method.upper()} {path}" for path, methods in api["Body"]["paths"].items() for method in methods}
    assert stage["RouteSettings"].keys() == routes
    for limits in (stage["DefaultRouteSettings"], *stage["RouteSettings"].values()):
        assert limits["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
        assert limits["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}
    assert functions["WebhookFunction"]["ReservedConcurrentExecutions"]["Fn::If"][0] == "HasReservedWebhook"
    alarms = of_type("CloudWatch::Alarm")
    for name in ("ApiThrottled", "ApiErrors"):
        (counted,) = of_type("Logs::MetricFilter")[f"{name}Filter"]["MetricTransformations"]
        assert alarms[f"{name}Alarm"]["MetricName"] == counted["MetricName"]
        assert alarms[f"{name}Alarm"]["Namespace"] == counted["MetricNamespace"]
    assert alarms["WebhookThrottledAlarm"]["MetricName"] == "Throttles"


def test_a_bad_webhook_version_is_rolled_back(of_type):
    """A new version first gets a tenth of the callbacks.

    If an alarm on replies or errors fires, the version is rolled back.
    """
    (group,) = of_type("CodeDeploy::DeploymentGroup").values()
    assert json.dumps(group["DeploymentConfigName"]).count("Canary10Percent5Minutes") == 1
    assert '"ShiftsAtOnce"' in json.dumps(group["DeploymentConfigName"])
    named = {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]}
    assert named == {"NewVersionErrorsAlarm", "NewVersionTryAgainAlarm"}
    alarms = of_type("CloudWatch::Alarm")
    (version,) = of_type("Lambda::Version")
    for name in named:
        dimensions = {each["Name"]: each["Value"] for each in alarms[name]["Dimensions"]}
        newest = dimensions.get("ExecutedVersion", dimensions.get("version"))
        assert newest == {"Fn::GetAtt": [version, "Version"]}, name
        # One bad minute of the five is enough. No data before the first callback is not a fault.
        assert (alarms[name]["DatapointsToAlarm"], alarms[name]["Period"]) == (1, 60)
        assert alarms[name]["TreatMissingData"] == "notBreaching"
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]


ASKED_FOR = (
    *("function for each duty", "layers", "build script", "SAM template", "CloudFormation template", "VPC"),
    *("security groups", "schedules", "log retention", "local run", "environment reference", "monitoring"),
    *("troubleshooting", "dead letter queue", "SNS", "X-Ray", "provisioned concurrency", "throttling"),
)


@pytest.fixture(scope="module")
def where(root):
    """Map each feature in the table in docs/deploy.md to the location that the table gives for the feature."""
    _, _, section = (root / "docs" / "deploy.md").read_text("utf-8").partition("\n## What is where\n")
    return dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section.partition("\n## ")[0], re.MULTILINE))


@pytest.mark.parametrize("feature", ASKED_FOR)
def test_the_deployment_page_names_the_place_of_each_feature(where, feature):
    """The "What is where" table in docs/deploy.md names a place for each requested feature."""
    (place,) = [place for name, place in where.items() if feature in name]
    assert re.search(r"\]\([^)]+\)|`[A-Za-z-]+`", place)


def test_the_sections_that_the_deployment_page_links_to_exist(root, where):
    """Each section that the feature table in docs/deploy.md links to exists."""
    for page, anchor in re.findall(r"\]\(([a-z-]*(?:\.md)?)#([a-z0-9-]+)\)", "".join(where.values())):
        text = (root / "docs" / (page or "deploy.md")).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in headings}, anchor


def test_the_code_archive_is_as_small_as_the_page_says():
    """The code archive is smaller than 1 MB. docs/deploy.md gives this size as the reason for a single archive."""
    assert BUDGETS[CODE][0] < 1_000_000


def test_a_new_version_is_checked_before_it_gets_callbacks(template, functions, statements):
    """CodeDeploy invokes the check function, which invokes the new version.

    Both roles have the permissions for these calls.
    """
    alias = template["Resources"]["WebhookFunctionAliaslive"]
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["BeforeAllowTrafficHook"] == {"Ref": "BeforeTrafficFunction"}
    variables = functions["BeforeTrafficFunction"]["Environment"]["Variables"]
    assert variables["PAYCTL_NEW_VERSION"] == {"Ref": alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]}
    calls = {role: each["Resource"] for role, each in statements if each["Action"] == "lambda:InvokeFunction"}
    assert calls["DeploymentRole"] == {"Fn::GetAtt": ["BeforeTrafficFunction", "Arn"]}
    assert calls["BeforeTrafficRole"]["Fn::Sub"].endswith(":function:${AWS::StackName}-webhook:*")
    assert functions["BeforeTrafficFunction"]["Timeout"] < 3600  # CodeDeploy waits this long for the answer
