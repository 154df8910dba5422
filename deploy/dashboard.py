"""Create the dashboard, which shows the alarms' states, and a graph of each metric by function and by gateway."""

from __future__ import annotations

import json
from typing import Any

from ticketbottle_payctl.metrics import BY_FUNCTION, BY_PROVIDER, METRICS, NAMESPACE, Metric
from ticketbottle_payctl.providers import GATEWAYS

_WIDTH, _HEIGHT, _COLUMNS = 8, 5, 3
_ABOVE = 4
"""The height of the row that shows the alarms, in the dashboard's grid units."""


def dashboard(alarms: list[tuple[str, str | None]]) -> dict[str, Any]:
    """Return the dashboard's resource.

    ``alarms`` has each alarm's logical id in the template, and its condition or None.
    """
    state = {"title": "Alarms", "alarms": [f"${{{name}.Arn}}" for name, condition in alarms if condition is None]}
    widgets = [{"type": "alarm", "x": 0, "y": 0, "width": 24, "height": _ABOVE, "properties": state}]
    widgets += [_graph(metric, number) for number, metric in enumerate(METRICS)]
    body = json.dumps({"widgets": widgets}, separators=(",", ":"))
    sometimes = {
        name.removesuffix("Alarm"): _if_there(name, condition) for name, condition in alarms if condition is not None
    }
    at = body.index('"]}')  # the end of the alarms' list
    body = body[: at + 1] + "".join(f"${{{name}}}" for name in sometimes) + body[at + 1 :]
    properties = {"DashboardName": {"Fn::Sub": "${AWS::StackName}"}, "DashboardBody": {"Fn::Sub": [body, sometimes]}}
    return {"Type": "AWS::CloudWatch::Dashboard", "Properties": properties}


def _if_there(name: str, condition: str) -> dict[str, Any]:
    """Return a template expression for an alarm's entry in the list.

    If the alarm does not exist, its value is an empty string.
    """
    return {"Fn::If": [condition, {"Fn::Sub": f',"${{{name}.Arn}}"'}, ""]}


def _graph(metric: Metric, number: int) -> dict[str, Any]:
    lines = []
    if BY_FUNCTION in metric.dimensions:
        lines = [[NAMESPACE, metric.name, "env", "${Environment}", "function", name.value] for name in metric.functions]
    if BY_PROVIDER in metric.dimensions:
        lines += [[NAMESPACE, metric.name, "env", "${Environment}", "provider", name] for name in GATEWAYS]
    return {
        "type": "metric",
        "x": number % _COLUMNS * _WIDTH,
        "y": _ABOVE + number // _COLUMNS * _HEIGHT,
        "width": _WIDTH,
        "height": _HEIGHT,
        "properties": {
            "title": f"{metric.name}: {metric.meaning}",
            "region": "${AWS::Region}",
            "stat": metric.statistic.value,
            "period": 60,
            "metrics": lines,
        },
    }
