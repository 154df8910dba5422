"""Test the list of metrics and the log lines that report them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from lambda_entrypoints.webhook_measures import ACCEPTED, REFUSED
from ticketbottle_payctl.metrics import (
    BY_FUNCTION,
    BY_NAME,
    BY_PROVIDER,
    BY_VERSION,
    METRICS,
    MOST_VALUES,
    Function,
    emf,
    emit,
    of_dead,
    of_outbox,
)

ROOT = Path(__file__).parents[1]
AT = 1_795_402_800.25


def test_a_metric_line_has_the_format_that_cloudwatch_reads():
    """A metric line contains the fields of the embedded metric format, and the line's time is in milliseconds."""
    (line,) = emf(Function.CLEANUP, {"CleanupDeleted": 3}, env="prod", at=AT)
    assert json.loads(line) == {
        "_aws": {
            "Timestamp": 1795402800250,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Payctl",
                    "Dimensions": [["env", "function"]],
                    "Metrics": [{"Name": "CleanupDeleted", "Unit": "Count"}],
                }
            ],
        },
        "env": "prod",
        "function": "cleanup",
        "CleanupDeleted": 3,
    }


def test_a_webhook_is_counted_by_function_and_by_gateway():
    """A webhook metric has only two sets of dimensions, because AWS charges for every combination of values."""
    lines = [
        json.loads(each) for each in emf(Function.WEBHOOK, {"WebhookReceived": 1}, env="e", at=AT, provider="momo")
    ]
    assert [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines] == [
        [["env", "function"]],
        [["env", "provider"]],
    ]
    assert len(emf(Function.WEBHOOK, {"WebhookReceived": 1}, env="e", at=AT)) == 1


def test_a_metric_without_values_is_left_out():
    """An empty list of latencies does not add a metric. A line without metrics is not written."""
    assert emf(Function.PUBLISH_OUTBOX, {"PublishLatency": []}, env="e", at=AT) == []
    (line,) = emf(Function.PUBLISH_OUTBOX, {"PublishLatency": [], "OutboxDead": 0}, env="e", at=AT)
    assert "PublishLatency" not in line


@pytest.mark.parametrize(
    ("function", "name", "error"),
    [(Function.WEBHOOK, "WebhookUnheardOf", KeyError), (Function.CLEANUP, "WebhookReceived", ValueError)],
)
def test_a_metric_that_is_not_in_the_list_is_refused(function, name, error):
    """`emf` raises an error for an unknown metric and for another function's metric."""
    with pytest.raises(error):
        emf(function, {name: 1}, env="e", at=AT)


def test_the_list_of_metrics_is_within_cloudwatch_s_limits():
    """Metric names are distinct, every dimension is known, and the list has fewer than 100 metrics."""
    assert len(BY_NAME) == len(METRICS) < 100
    known = {BY_FUNCTION, BY_PROVIDER, BY_VERSION}
    assert all(metric.meaning and set(metric.dimensions) <= known for metric in METRICS)
    assert MOST_VALUES == 100


def test_every_metric_of_the_list_is_emitted_by_the_code():
    """Every metric name appears in the source code of the Lambda functions or their shared helper."""
    emitted = {*ACCEPTED.values(), *REFUSED.values(), *of_outbox(0, 0, None), *of_dead(0, 0)}
    for file in (ROOT / "lambda_entrypoints").glob("*.py"):
        emitted |= {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    assert BY_NAME.keys() - emitted == set()


def test_metrics_are_on_stdout_when_the_call_returns(capsys):
    """`emit` flushes its metric line at once, because Lambda can freeze the process after the call."""
    emit(Function.WEBHOOK, {"ColdStart": 1}, env="test")
    out, err = capsys.readouterr()
    assert (json.loads(out)["ColdStart"], err) == (1, "")
