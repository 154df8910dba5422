"""Test the alarms, the dashboard and the logs.

The template's generator derives all of them from the list of emitted metrics.
"""

from __future__ import annotations

import json
import re

import pytest

from deploy.alarms import ALARMS
from deploy.alarms.model import LOGICAL, NAMES, of_gateway, of_lambda, ours
from ticketbottle_payctl.metrics import BY_NAME, METRICS, NAMESPACE, Function
from ticketbottle_payctl.providers import GATEWAYS


def seen(alarm):
    """Return the metrics that an alarm watches, either its single metric or the metrics in its expression."""
    if "Metrics" not in alarm:
        return [alarm]
    return [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]


def test_every_alarm_watches_a_metric_that_the_code_emits(of_type):
    """Each alarm watches a listed metric, with the right function and dimensions.

    Otherwise the alarm would never fire.
    """
    checked = 0
    for alarm in of_type("CloudWatch::Alarm").values():
        for metric in seen(alarm):
            if metric["Namespace"] == NAMESPACE:
                dimensions = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
                emitted = BY_NAME[metric["MetricName"]]
                assert tuple(dimensions) in emitted.dimensions
                assert {"provider", "version"} & dimensions.keys() or Function(
                    dimensions["function"]
                ) in emitted.functions
                assert dimensions.get("provider", "momo") in GATEWAYS
                assert dimensions["env"] == {"Ref": "Environment"}
                checked += 1
    assert checked > 8


def test_an_alarm_on_an_unknown_metric_is_refused():
    """The template's generator raises an error for a misspelt metric and for another function's metric."""
    with pytest.raises(KeyError):
        ours(Function.WEBHOOK, "WebhookAcepted")
    with pytest.raises(ValueError, match="does not emit"):
        ours(Function.WEBHOOK, "OutboxPending")
    with pytest.raises(ValueError, match="no function emits"):
        of_gateway("momo", "OutboxPending")
    with pytest.raises(ValueError, match="no function emits"):
        of_gateway("paypal", "WebhookRefused")


def test_every_metric_of_the_list_is_emitted_by_the_functions(root):
    """The Lambda functions' code contains the name of every metric in the list."""
    _, _, after_the_list = (root / "ticketbottle_payctl" / "metrics.py").read_text("utf-8").partition("\nBY_NAME = ")
    code = after_the_list + "".join(path.read_text("utf-8") for path in (root / "lambda_entrypoints").glob("*.py"))
    assert [metric.name for metric in METRICS if f'"{metric.name}"' not in code] == []


def test_an_alarm_on_missing_data_watches_a_metric_that_is_always_emitted():
    """An alarm on missing data watches only a metric that every run emits.

    A quiet night therefore does not set off an alarm.
    """
    strict = [alarm for alarm in ALARMS if alarm.silence == "breaching" and alarm.watch.namespace == NAMESPACE]
    assert strict
    assert all(BY_NAME[alarm.watch.name].always for alarm in strict)


def test_every_alarm_has_an_action_and_a_rule_for_missing_data(of_type):
    """Every alarm notifies the alarm topic and defines whether missing data is a fault."""
    alarms = of_type("CloudWatch::Alarm")
    assert len(alarms) == len(ALARMS)
    for logical, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], logical
        assert alarm["TreatMissingData"] in {"breaching", "notBreaching"}, logical
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], logical
        assert "${AWS::StackName}" in alarm["AlarmName"]["Fn::Sub"], logical
        assert alarm.get("Statistic") != "Average", logical


def test_the_duration_alarms_fire_before_the_timeout(functions):
    """A function's duration alarm fires before Lambda ends the function."""
    slow = {alarm.name: alarm for alarm in ALARMS if alarm.watch.name == "Duration"}
    watched = {alarm.watch.dimensions["FunctionName"]["Ref"] for alarm in slow.values()}
    assert watched == set(functions) - {"BeforeTrafficFunction"}  # CodeDeploy reacts to this alarm
    for alarm in slow.values():
        timeout = functions[alarm.watch.dimensions["FunctionName"]["Ref"]]["Timeout"] * 1000
        assert 0.8 * timeout <= alarm.above < timeout
        assert alarm.watch.statistic == "p99"


def test_a_scheduled_function_that_does_not_run_sets_off_an_alarm():
    """An alarm fires if a scheduled function does not run, for example because its schedule is turned off."""
    watched = {alarm.watch.name: [] for alarm in ALARMS if alarm.below == 1 and alarm.silence == "breaching"}
    for alarm in ALARMS:
        if alarm.below == 1 and alarm.silence == "breaching":
            watched[alarm.watch.name].append(alarm.watch)
    scheduled = (Function.PUBLISH_OUTBOX, Function.CLEANUP, Function.WATCH_PAYMENTS, Function.RECONCILE_PAYMENTS)
    assert watched == {
        "Invocations": [of_lambda(function, "Invocations") for function in scheduled],
        "ProbeRefused": [ours(Function.PROBE, "ProbeRefused")],
    }


def test_every_urgent_alarm_pages(of_type):
    """The composite alarm, which pages an operator, contains every alarm that means lost money or lost tickets."""
    (composite,) = of_type("CloudWatch::CompositeAlarm").values()
    rule, sometimes = composite["AlarmRule"]["Fn::Sub"]
    named = set(re.findall(r'ALARM\("\$\{(\w+)\}"\)', rule + json.dumps(sometimes).replace("\\", "")))
    assert named == {alarm.logical_id for alarm in ALARMS if alarm.pages}
    assert {"OutboxStuckAlarm", "DeadEventsAlarm", "MoneyAlarm", "PublishOutboxSilentAlarm"} <= named


def refused_share(refused, received, expression):
    """Return the value that CloudWatch computes for one period from the alarm's expression."""
    found = re.fullmatch(r"IF\(all > 0 AND part >= (\d+), 100 \* part / all, 0\)", expression)
    return 100 * refused / received if received > 0 and refused >= int(found[1]) else 0


@pytest.mark.parametrize(
    ("refused", "received", "rings"),
    [(0, 0, False), (1, 1, False), (2, 2, False), (3, 3, True), (3, 10, True), (3, 15, False), (50, 1000, False),
     (250, 1000, True), (1000, 1000, True)],
)  # fmt: skip
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_alarm_pages_if_a_gateway_s_callbacks_are_refused(of_type, gateway, refused, received, rings):
    """A gateway's alarm pages if 3 or more callbacks, and over a fifth of all callbacks, are refused in 15 minutes."""
    alarm = of_type("CloudWatch::Alarm")[f"{NAMES[gateway]}RefusedAlarm"]
    share, part, whole = alarm["Metrics"]
    assert (alarm["ComparisonOperator"], whole["MetricStat"]["Period"]) == ("GreaterThanThreshold", 900)
    assert [each["MetricStat"]["Metric"]["MetricName"] for each in (part, whole)] == [
        "WebhookRefused",
        "WebhookReceived",
    ]
    for each in (part, whole):
        assert {"Name": "provider", "Value": gateway} in each["MetricStat"]["Metric"]["Dimensions"]
    assert (refused_share(refused, received, share["Expression"]) > alarm["Threshold"]) is rings
    (composite,) = of_type("CloudWatch::CompositeAlarm").values()
    assert f"${{{NAMES[gateway]}RefusedAlarm}}" in composite["AlarmRule"]["Fn::Sub"][0]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_alarm_pages_if_a_gateway_no_longer_calls(of_type, gateway):
    """One alarm pages after two hours with payments but without callbacks.

    A second alarm pages if most payments stay pending.
    """
    alarms, (composite,) = of_type("CloudWatch::Alarm"), of_type("CloudWatch::CompositeAlarm").values()
    for name, metric, threshold in (
        ("Silent", "CallbackSilence", 7200),
        ("Unsettled", "PaymentsUnsettled", 90),
    ):
        alarm = alarms[f"{NAMES[gateway]}{name}Alarm"]
        assert (alarm["MetricName"], alarm["Threshold"], alarm["Statistic"]) == (metric, threshold, "Maximum")
        assert {"Name": "provider", "Value": gateway} in alarm["Dimensions"]
        assert f"${{{NAMES[gateway]}{name}Alarm}}" in composite["AlarmRule"]["Fn::Sub"][0]


def test_an_alarm_pages_if_no_forgery_of_the_probe_is_refused(of_type):
    """The DoorClosed alarm pages if the probe's forged callbacks are not refused, or if the probe does not run."""
    alarm = of_type("CloudWatch::Alarm")["DoorClosedAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Statistic"]) == ("ProbeRefused", 1, "Minimum")
    assert (alarm["ComparisonOperator"], alarm["TreatMissingData"]) == ("LessThanThreshold", "breaching")
    (schedule,) = (each for name, each in of_type("Scheduler::Schedule").items() if name.startswith("ProbeFunction"))
    assert (schedule["ScheduleExpression"], alarm["Period"]) == ("rate(5 minutes)", 300)
    (composite,) = of_type("CloudWatch::CompositeAlarm").values()
    assert "${DoorClosedAlarm}" in composite["AlarmRule"]["Fn::Sub"][0]


def test_an_alarm_fires_at_the_first_unreadable_callback(of_type):
    """An alarm fires at the first unreadable callback, because a gateway might have changed its callback format."""
    alarm = of_type("CloudWatch::Alarm")["UnreadableAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Statistic"]) == ("WebhookUnreadable", 0, "Sum")
    assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"], alarm["Period"]) == (1, 1, 60)


def dashboard_of(board, *, there):
    """Return the dashboard body that CloudFormation creates. If ``there`` is true, include the conditional alarms."""
    body, sometimes = board["DashboardBody"]["Fn::Sub"]
    for name, choice in sometimes.items():
        _, yes, no = choice["Fn::If"]
        body = body.replace(f"${{{name}}}", yes["Fn::Sub"] if there else no)
    return body


def test_the_dashboard_shows_every_metric(of_type):
    """The dashboard contains one graph for each metric in the list, and shows the state of every alarm."""
    (board,) = of_type("CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard_of(board, there=True))["widgets"]
    graphs = [each["properties"] for each in widgets if each["type"] == "metric"]
    assert [graph["metrics"][0][1] for graph in graphs] == [metric.name for metric in METRICS]
    assert [graph["stat"] for graph in graphs] == [metric.statistic.value for metric in METRICS]
    (state,) = (each["properties"] for each in widgets if each["type"] == "alarm")
    always = [alarm.logical_id for alarm in ALARMS if alarm.condition is None]
    sometimes = [alarm.logical_id for alarm in ALARMS if alarm.condition]
    assert state["alarms"] == [f"${{{name}.Arn}}" for name in (*always, *sometimes)]
    shown = json.loads(dashboard_of(board, there=False))["widgets"][0]["properties"]["alarms"]
    assert shown == [f"${{{name}.Arn}}" for name in always]


def test_every_function_of_the_code_is_in_the_template(functions):
    """The list of metrics names exactly the functions that the template defines."""
    assert set(LOGICAL.values()) == set(functions)
    assert set(LOGICAL) == set(Function)


def test_the_retention_of_logs_depends_on_the_environment(template, of_type):
    """Each log group has a retention time. In production, this time is at least 30 days."""
    for logical, group in of_type("Logs::LogGroup").items():
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}, logical
    days = template["Parameters"]["LogRetentionDays"]
    assert days["Default"] == 30
    assert {1, 7, 30, 365, 3653} <= set(days["AllowedValues"])


def test_the_access_log_is_json_without_the_query(of_type):
    """The access log never contains the query, because VNPay's query contains the payer's data."""
    stage = of_type("ApiGatewayV2::Stage")["ApiApiGatewayDefaultStage"]
    log = stage["AccessLogSettings"]
    fields = json.loads(log["Format"])
    assert {"requestId", "routeKey", "status", "sourceIp", "responseLatency"} <= fields.keys()
    assert not re.search(r"query|authorizer|\$context\.path|requestOverride", log["Format"], re.IGNORECASE)
    assert log["DestinationArn"]["Fn::GetAtt"][0] == "AccessLogGroup"
    group = of_type("Logs::LogGroup")["AccessLogGroup"]
    assert group["LogGroupName"]["Fn::Sub"].startswith("/aws/vendedlogs/")
