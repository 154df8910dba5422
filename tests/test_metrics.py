"""The one list of metrics, and the lines that are made from it."""

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
    METRICS,
    MOST_VALUES,
    Function,
    emf,
    emit,
    of_outbox,
)

ROOT = Path(__file__).parents[1]
AT = 1_795_402_800.25


def test_a_line_is_what_cloudwatch_reads():
    """The specification's members, the time in milliseconds, one directive for one set of dimensions."""
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
    """And by nothing else: each combination of values is paid for."""
    lines = [
        json.loads(each) for each in emf(Function.WEBHOOK, {"WebhookReceived": 1}, env="e", at=AT, provider="momo")
    ]
    assert [line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for line in lines] == [
        [["env", "function"]],
        [["env", "provider"]],
    ]
    assert len(emf(Function.WEBHOOK, {"WebhookReceived": 1}, env="e", at=AT)) == 1


def test_no_values_are_no_metric():
    """A latency that nothing had is left out, and a line of nothing is no line."""
    assert emf(Function.PUBLISH_OUTBOX, {"PublishLatency": []}, env="e", at=AT) == []
    (line,) = emf(Function.PUBLISH_OUTBOX, {"PublishLatency": [], "OutboxDead": 0}, env="e", at=AT)
    assert "PublishLatency" not in line


@pytest.mark.parametrize(
    ("function", "name", "error"),
    [(Function.WEBHOOK, "WebhookUnheardOf", KeyError), (Function.CLEANUP, "WebhookReceived", ValueError)],
)
def test_what_is_not_in_the_list_is_not_emitted(function, name, error):
    """Alarms and dashboard are made from the list."""
    with pytest.raises(error):
        emf(function, {name: 1}, env="e", at=AT)


def test_the_list_is_within_what_cloudwatch_takes():
    """Distinct names, known dimensions, fewer than a hundred metrics in a line."""
    assert len(BY_NAME) == len(METRICS) < 100
    assert all(metric.meaning and set(metric.dimensions) <= {BY_FUNCTION, BY_PROVIDER} for metric in METRICS)
    assert MOST_VALUES == 100


def test_every_metric_of_the_list_is_emitted_by_the_code():
    """Its name stands in the functions' own source, or in the one helper that they share."""
    emitted = {*ACCEPTED.values(), *REFUSED.values(), *of_outbox(0, 0, None)}
    for file in (ROOT / "lambda_entrypoints").glob("*.py"):
        emitted |= {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    assert BY_NAME.keys() - emitted == set()


def test_metrics_are_on_stdout_when_the_call_returns(capsys):
    """The process may be frozen right after."""
    emit(Function.WEBHOOK, {"ColdStart": 1}, env="test")
    out, err = capsys.readouterr()
    assert (json.loads(out)["ColdStart"], err) == (1, "")
