"""Features that were asked for: VNPay, dead letter queue, SNS, tracing, provisioned concurrency, rate limits."""

from __future__ import annotations

import json


def test_vnpay_has_a_route_and_its_keys(of_type, functions):
    """VNPay's IPN, a GET request, has a route, and the webhook gets VNPay's keys."""
    (api,) = of_type("ApiGatewayV2::Api").values()
    assert api["Body"]["paths"]["/webhook/vnpay"].keys() == {"get"}
    variables = functions["WebhookFunction"]["Environment"]["Variables"]
    assert {"VNPAY_TMN_CODE_SECRET_ARN", "VNPAY_HASH_SECRET_SECRET_ARN"} <= variables.keys()


def test_dead_letter_queues_keep_messages_for_14_days(template, of_type, statements):
    """Both queues are encrypted and survive the stack, and their senders have the permission to send."""
    queues = of_type("SQS::Queue")
    assert sorted(queues) == ["DeadEventQueue", "InvocationDlq"]
    for name, queue in queues.items():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queue["SqsManagedSseEnabled"] == {"Fn::If": ["HasKms", {"Ref": "AWS::NoValue"}, True]}
        assert template["Resources"][name]["DeletionPolicy"] == "Retain"
    senders = {logical for logical, each in statements if "sqs:SendMessage" in json.dumps(each)}
    assert senders == {"PublishOutboxRole", "CleanupRole", "SchedulerRole"}


def test_one_sns_topic_gets_all_alarms(template, of_type):
    """The alarms go to one topic, which CloudWatch may publish to, and an e-mail address can subscribe."""
    assert list(of_type("SNS::Topic")) == ["AlarmTopic"]
    (subscription,) = of_type("SNS::Subscription").values()
    assert subscription["Protocol"] == "email"
    assert template["Resources"]["AlarmSubscription"]["Condition"] == "HasEmail"
    (policy,) = of_type("SNS::TopicPolicy").values()
    (alarms,) = policy["PolicyDocument"]["Statement"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert "aws:SourceAccount" in json.dumps(alarms["Condition"])


def test_direct_messages_have_one_switch(functions, statements):
    """One condition sets the variables and the permission for messages from the code."""
    switch = "TellsDirectly"
    for function in functions.values():
        assert function["Environment"]["Variables"]["PAYCTL_ALERTS_TOPIC_ARN"]["Fn::If"][0] == switch
    queue = functions["PublishOutboxFunction"]["Environment"]["Variables"]["PAYCTL_DEAD_EVENTS_QUEUE_URL"]
    assert queue["Fn::If"][0] == switch
    assert "sns:Publish" in [each["Action"] for _, each in statements]


def test_every_function_traces_with_x_ray(functions, statements):
    """X-Ray is on for each function, and each role may send segments."""
    for function in functions.values():
        assert function["TracingConfig"] == {"Mode": "Active"}
    senders = {logical for logical, each in statements if "xray:PutTraceSegments" in json.dumps(each)}
    assert senders == {"FunctionPolicy"}


def test_the_webhook_has_provisioned_concurrency_if_it_is_configured(template, of_type):
    """A parameter sets the number of warm environments, and autoscaling adds more under load."""
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
    """Every route has its own limit, concurrency can be reserved, and throttled requests set off an alarm."""
    (stage,) = of_type("ApiGatewayV2::Stage").values()
    (api,) = of_type("ApiGatewayV2::Api").values()
    routes = {f"{method.upper()} {path}" for path, methods in api["Body"]["paths"].items() for method in methods}
    assert stage["RouteSettings"].keys() == routes
    for limits in (stage["DefaultRouteSettings"], *stage["RouteSettings"].values()):
        assert limits["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
        assert limits["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}
    assert functions["WebhookFunction"]["ReservedConcurrentExecutions"]["Fn::If"][0] == "HasReservedWebhook"
    alarms = of_type("CloudWatch::Alarm")
    (counted,) = of_type("Logs::MetricFilter")["ApiThrottledFilter"]["MetricTransformations"]
    assert alarms["ApiThrottledAlarm"]["MetricName"] == counted["MetricName"]
    assert alarms["ApiThrottledAlarm"]["Namespace"] == counted["MetricNamespace"]
    assert alarms["WebhookThrottledAlarm"]["MetricName"] == "Throttles"


def test_a_bad_webhook_version_is_rolled_back(of_type):
    """A new version gets a tenth of the callbacks first, and the alarms on replies and errors roll it back."""
    (group,) = of_type("CodeDeploy::DeploymentGroup").values()
    assert "Canary10Percent5Minutes" in json.dumps(group["DeploymentConfigName"])
    named = {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]}
    assert named == {"WebhookErrorsAlarm", "WebhookTryAgainAlarm"}
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
