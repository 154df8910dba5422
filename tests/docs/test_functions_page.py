"""Test that the page about the Lambda functions describes the template, and that its generator fails if it cannot."""

from __future__ import annotations

import copy
import json

import pytest

from docs.functions import TEMPLATE, NotDescribedError, described
from ticketbottle_payctl.metrics import Function


@pytest.fixture
def template():
    """Return a copy of the generated template that a test can change."""
    return copy.deepcopy(json.loads(TEMPLATE.read_text("utf-8")))


def rows(template):
    """Return the described functions by name."""
    return {row.name: row for row in described(template)}


def schedule_of(template, logical):
    """Return the properties of a function's schedule."""
    (found,) = (
        one["Properties"]
        for one in template["Resources"].values()
        if one["Type"] == "AWS::Scheduler::Schedule" and one["Properties"]["Target"]["Arn"]["Fn::GetAtt"][0] == logical
    )
    return found


def test_every_function_has_a_row(template):
    """The page has a row for each function in the code."""
    assert rows(template).keys() == {function.value.replace("_", "-") for function in Function}


def test_the_rows_follow_the_template(template):
    """A change of the schedule, the limits or the retries in the template changes the function's row."""
    before = rows(template)["cleanup"]
    assert (before.starts, before.retries, before.age) == (
        "every night between 03:30 and 03:45, Vietnam time",
        2,
        "1 h",
    )
    schedule = schedule_of(template, "CleanupFunction")
    schedule["ScheduleExpression"] = "cron(5 23 * * ? *)"
    schedule["FlexibleTimeWindow"] = {"Mode": "OFF"}
    template["Resources"]["CleanupFunction"]["Properties"] |= {"Timeout": 90, "MemorySize": 2048}
    changed = rows(template)["cleanup"]
    assert (changed.starts, changed.timeout, changed.memory) == (
        "every night at 23:05, Vietnam time",
        "1 min 30 s",
        "2,048 MB",
    )


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("publish-outbox", "`Publisher=function`"), ("reconcile-payments", "`ReconcilePayments=true`")],
)
def test_a_row_names_the_parameter_that_turns_the_function_on(template, name, parameter):
    """If a parameter turns a function's schedule on or off, the function's row names the parameter."""
    assert rows(template)[name].starts.endswith(f", with {parameter}")


@pytest.mark.parametrize("expression", ["cron(0 3 ? * MON *)", "rate(2 hours)"])
def test_an_unknown_schedule_stops_the_generator(template, expression):
    """The generator fails if it cannot describe when a function starts."""
    schedule_of(template, "CleanupFunction")["ScheduleExpression"] = expression
    with pytest.raises(NotDescribedError, match="cannot describe the schedule"):
        rows(template)


def test_different_retries_of_scheduler_and_function_stop_the_generator(template):
    """The page has one number of retries, so the generator fails if the scheduler and the function differ."""
    schedule_of(template, "CleanupFunction")["Target"]["RetryPolicy"] = {
        "MaximumRetryAttempts": 3,
        "MaximumEventAgeInSeconds": 3600,
    }
    with pytest.raises(NotDescribedError, match="the schedule of CleanupFunction"):
        rows(template)
