"""Create the template's resources from the list of alarms."""

from __future__ import annotations

from deploy.alarms import ALARMS
from deploy.alarms.model import Alarm, Json, Watch
from deploy.dashboard import dashboard


def resources() -> dict[str, Json]:
    """Return the template's generated resources: the alarms, an alarm for the pager, and the dashboard."""
    made = {alarm.logical_id: _alarm(alarm) for alarm in ALARMS}
    made["PaymentsUnhealthyAlarm"] = _composite([alarm for alarm in ALARMS if alarm.pages])
    made["Dashboard"] = dashboard([(alarm.logical_id, alarm.condition) for alarm in ALARMS])
    return made


def _alarm(alarm: Alarm) -> Json:
    """Return an alarm's resource. The alarm sends a message when it fires and when it clears."""
    topic = [{"Ref": "AlarmTopic"}]
    properties: Json = {
        "AlarmName": {"Fn::Sub": f"${{AWS::StackName}}-{alarm.name}"},
        "AlarmDescription": f"payctl: {alarm.meaning}. What to do: docs/runbook.md, {alarm.name}.",
        "ComparisonOperator": "GreaterThanThreshold" if alarm.above is not None else "LessThanThreshold",
        "Threshold": alarm.above if alarm.above is not None else alarm.below,
        "DatapointsToAlarm": alarm.bad,
        "EvaluationPeriods": alarm.of,
        "TreatMissingData": alarm.silence.value,
        "AlarmActions": topic,
        "OKActions": topic,
    }
    if alarm.share_of is None:
        kind = "Statistic" if alarm.watch.statistic in {"Sum", "Maximum", "Minimum"} else "ExtendedStatistic"
        properties |= _metric(alarm.watch) | {kind: alarm.watch.statistic, "Period": alarm.period}
    else:
        share = f"IF(all > 0 AND part >= {alarm.at_least}, 100 * part / all, 0)"
        properties["Metrics"] = [
            {"Id": "share", "Label": alarm.meaning, "Expression": share},
            _series("part", alarm.watch, alarm.period),
            _series("all", alarm.share_of, alarm.period),
        ]
    condition = {"Condition": alarm.condition} if alarm.condition else {}
    return {"Type": "AWS::CloudWatch::Alarm", **condition, "Properties": properties}


def _metric(watch: Watch) -> Json:
    dimensions = [{"Name": name, "Value": value} for name, value in watch.dimensions.items()]
    found: Json = {"Namespace": watch.namespace, "MetricName": watch.name}
    return found | {"Dimensions": dimensions} if dimensions else found


def _series(name: str, watch: Watch, period: int) -> Json:
    stat = {"Metric": _metric(watch), "Period": period, "Stat": watch.statistic}
    return {"Id": name, "MetricStat": stat, "ReturnData": False}


def _composite(alarms: list[Alarm]) -> Json:
    """Return the alarm for the pager, which combines all alarms that cannot wait until morning."""
    always = " OR ".join(_rings(alarm) for alarm in alarms if alarm.condition is None)
    sometimes = {alarm.name: _if_there(alarm, f" OR {_rings(alarm)}") for alarm in alarms if alarm.condition}
    rule = always + "".join(f"${{{name}}}" for name in sometimes)
    properties = {
        "AlarmName": {"Fn::Sub": "${AWS::StackName}-PaymentsUnhealthy"},
        "AlarmDescription": "payctl: customers pay and may not get their tickets. "
        "What to do: docs/runbook.md, PaymentsUnhealthy.",
        "AlarmRule": {"Fn::Sub": [rule, sometimes]},
        "AlarmActions": [{"Ref": "AlarmTopic"}],
        "OKActions": [{"Ref": "AlarmTopic"}],
    }
    return {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": properties}


def _rings(alarm: Alarm) -> str:
    return f'ALARM("${{{alarm.logical_id}}}")'


def _if_there(alarm: Alarm, text: str) -> Json:
    """Return a template expression with the value ``text`` or, if the alarm does not exist, an empty string.

    CloudFormation would refuse the name of a missing alarm.
    """
    return {"Fn::If": [alarm.condition, {"Fn::Sub": text}, ""]}
