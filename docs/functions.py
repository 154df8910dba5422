"""Describe each Lambda function from the generated template: its schedule, limits, retries and alarms.

This file contains only what the template cannot say: what starts a function without a schedule, and what happens after
a failure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.alarms import ALARMS
from deploy.alarms.model import LOGICAL, Alarm, Silence
from ticketbottle_payctl.formats import duration
from ticketbottle_payctl.metrics import Function

TEMPLATE = Path(__file__).parents[1] / "deploy" / "cloudformation.json"

_ZONES = {"Asia/Ho_Chi_Minh": "Vietnam time"}
_UNSCHEDULED = {
    Function.WEBHOOK: "a gateway's callback",
    Function.BEFORE_TRAFFIC: "CodeDeploy, once in each deployment",
}
_AFTERWARDS = {
    Function.WEBHOOK: (
        "The gateway gets an HTTP status of 5xx, and might repeat the callback. `payctl reconcile payments` finds a "
        "payment whose callback is lost."
    ),
    Function.PUBLISH_OUTBOX: "The events wait in the outbox. The next tick publishes them.",
    Function.CLEANUP: "The next night's run deletes what this run has left.",
    Function.WATCH_PAYMENTS: "The next tick counts the payments again.",
    Function.RECONCILE_PAYMENTS: "The next tick asks about the payments that are still PENDING.",
    Function.PROBE: "The next tick sends the forged callbacks again.",
    Function.BEFORE_TRAFFIC: "The deployment stops, and the old version keeps getting the callbacks.",
}


class NotDescribedError(Exception):
    """The template has a schedule or a retry rule that this file cannot describe."""


@dataclass(frozen=True, slots=True)
class Described:
    """A function's row in the tables. ``retries`` and ``age`` are None if no schedule starts the function."""

    name: str
    starts: str
    timeout: str
    memory: str
    reserved: str
    retries: int | None
    age: str | None
    alarms: tuple[str, ...]
    afterwards: str


def described(template: dict[str, Any] | None = None) -> Iterator[Described]:
    """Yield every function, in the order of the code's list of functions.

    Raises:
        NotDescribedError: a schedule has a format that is not known, or its retries differ from the function's retries.
    """
    found = template or json.loads(TEMPLATE.read_text("utf-8"))
    for function, logical in LOGICAL.items():
        one = found["Resources"][logical]["Properties"]
        schedule = _schedule(found, logical)
        retries, age = _retries(found, logical, schedule) if schedule else (None, None)
        yield Described(
            function.value.replace("_", "-"),
            _starts(found, schedule) if schedule else _UNSCHEDULED[function],
            duration(one["Timeout"]),
            f"{one['MemorySize']:,} MB",
            _reserved(one.get("ReservedConcurrentExecutions")),
            retries,
            None if age is None else duration(age),
            tuple(alarm.name for alarm in ALARMS if _is_about_runs(alarm, function)),
            _AFTERWARDS[function],
        )


def _is_about_runs(alarm: Alarm, function: Function) -> bool:
    """Say whether an alarm watches a function's runs, or a metric that each run must emit."""
    dimensions = alarm.watch.dimensions
    must_emit = dimensions.get("function") == function.value and alarm.silence is Silence.IS_A_FAULT
    return must_emit or {"Ref": LOGICAL[function]} in dimensions.values()


def _schedule(template: dict[str, Any], logical: str) -> dict[str, Any] | None:
    kinds = (one for one in template["Resources"].values() if one["Type"] == "AWS::Scheduler::Schedule")
    target = {"Fn::GetAtt": [logical, "Arn"]}
    return next((one for one in kinds if one["Properties"]["Target"]["Arn"] == target), None)


def _starts(template: dict[str, Any], schedule: dict[str, Any]) -> str:
    """Return the times at which a schedule starts its function, and the parameter that turns the schedule on."""
    properties = schedule["Properties"]
    when = _when(properties)
    switch = schedule.get("Condition")
    state = properties.get("State")
    if isinstance(state, dict) and "Fn::If" in state:
        switch = state["Fn::If"][0]
    if switch is None:
        return when
    parameter, value = template["Conditions"][switch]["Fn::Equals"]
    return f"{when}, with `{parameter['Ref']}={value}`"


def _when(properties: dict[str, Any]) -> str:
    expression = properties["ScheduleExpression"]
    if rate := re.fullmatch(r"rate\((\d+) minutes?\)", expression):
        return "every minute" if rate[1] == "1" else f"every {rate[1]} minutes"
    daily = re.fullmatch(r"cron\((\d+) (\d+) \* \* \? \*\)", expression)
    zone = _ZONES.get(properties.get("ScheduleExpressionTimezone", ""))
    if daily is None or zone is None:
        message = f"docs/functions.py cannot describe the schedule {expression}"
        raise NotDescribedError(message)
    first = int(daily[2]) * 60 + int(daily[1])
    last = first + properties["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0)
    if first == last:
        return f"every night at {_clock(first)}, {zone}"
    return f"every night between {_clock(first)} and {_clock(last)}, {zone}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}"


def _retries(template: dict[str, Any], logical: str, schedule: dict[str, Any]) -> tuple[int, int]:
    """Return the retries and the maximum age, which the scheduler and Lambda must share."""
    invoked = next(
        one["Properties"]
        for one in template["Resources"].values()
        if one["Type"] == "AWS::Lambda::EventInvokeConfig" and one["Properties"]["FunctionName"] == {"Ref": logical}
    )
    names = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    ours, theirs = (
        [each[name] for name in names] for each in (invoked, schedule["Properties"]["Target"]["RetryPolicy"])
    )
    if ours != theirs:
        message = f"the schedule of {logical} has the retries {theirs}, but the function has {ours}"
        raise NotDescribedError(message)
    return ours[0], ours[1]


def _reserved(value: object) -> str:
    if isinstance(value, dict):
        parameter = value["Fn::If"][1]["Ref"]
        return f"`{parameter}`"
    return "" if value is None else str(value)


def page() -> Iterator[str]:
    """Yield the lines of the page below its title and notice."""
    rows = tuple(described())
    yield "This page lists when each function of the AWS stack starts, which limits it has, and what happens if a run"
    yield "fails. The values come from the template. A *tick* is one scheduled run."
    yield from ("", "## Schedules and limits", "")
    yield "| function | what starts it | timeout | memory | reserved concurrency | retries | maximum age of a tick |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        limits = (row.timeout, row.memory, row.reserved, "" if row.retries is None else str(row.retries), row.age or "")
        yield f"| `{row.name}` | {row.starts} | {' | '.join(limits)} |"
    yield from ("", _LIMITS, "", "## If a run fails", "", _STEPS, "", _ALARMS, "")
    yield "| function | what happens after a failure | alarms about its runs |"
    yield "|---|---|---|"
    for row in rows:
        alarms = ", ".join(f"[{name}](../runbook.md#{name.lower()})" for name in row.alarms)
        yield f"| `{row.name}` | {row.afterwards} | {alarms} |"


_LIMITS = """\
If a parameter stands for the reserved concurrency, its value 0 reserves nothing. The functions without a reservation
share the account's concurrency. `PublishScheduleState=DISABLED` pauses `publish-outbox`."""

_STEPS = """\
A run fails if the function raises an error or reaches its timeout. These rules apply to each scheduled function:

* Lambda runs the function again. The column *retries* gives the maximum number of retries. Lambda waits one minute
  before the first retry, and two minutes before the second retry.
* If Lambda throttles a tick, Lambda tries again until the tick reaches its maximum age.
* If all retries have failed or the tick is too old, Lambda puts the tick into the queue `InvocationDlq`. The queue
  keeps the tick for 14 days, and the alarm [InvocationsLost](../runbook.md#invocationslost) goes off.
* If the scheduler cannot pass a tick to Lambda, the scheduler tries again with the same limits. If these attempts fail
  too, the tick goes to the same queue."""

_ALARMS = """\
You do not have to repeat a lost tick, because the next tick does the same work."""
