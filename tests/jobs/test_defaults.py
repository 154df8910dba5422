"""Test the values of the fields that a caller does not set, in the options and the reports of the jobs."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from datetime import timedelta

from ticketbottle_payctl import domain, jobs, store


def defaults():
    """Return the default of each public field that is a number, a flag or a duration, by class and field."""
    found = {}
    for package in (domain, jobs, store):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(each.name)
            for name, kind in inspect.getmembers(module, inspect.isclass):
                if kind.__module__ == each.name and not name.startswith("_"):
                    found |= {f"{name}.{field}": value for field, value in fields_of(kind)}
    return {name: value for name, value in found.items() if isinstance(value, int | float | timedelta)}


def fields_of(kind):
    """Yield the public fields of a class that have a default, each with the default."""
    if dataclasses.is_dataclass(kind):
        known = {each.name: each.default for each in dataclasses.fields(kind)}
    else:
        known = getattr(kind, "_field_defaults", {})
    yield from ((name, value) for name, value in known.items() if not name.startswith("_"))


def test_a_count_that_nobody_sets_is_zero_and_a_flag_is_false():
    """If a job does not set a count or a flag, the count is zero and the flag is false. These are the exceptions.

    A finding is about one transfer, and the command of an advice changes data. If payctl did not find out whether it is
    allowed to read the closing records and the publishers, it assumes that it is. The longest wait that a search finds
    counts as certain unless the search stopped early.
    """
    seconds, minutes, days = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "days"))
    options = {
        "UnattendedOptions.most_asked": 1000,
        "UnattendedOptions.older_than": 20 * minutes,
        "UnattendedOptions.younger_than": 7 * days,
        "UnattendedOptions.rate": 5,
        "UnattendedOptions.timeout": 10 * seconds,
        "UnattendedOptions.attempts": 2,
        "AskOptions.rate": 5,
        "AskOptions.timeout": 30 * seconds,
        "AskOptions.deadline": 10 * minutes,
        "AskOptions.attempts": 3,
        "PublishOptions.batch_size": 1000,
        "PublishOptions.max_retries": 5,
        "PublishOptions.shards": 1,
        "ReplayOptions.canary_patience": 5 * minutes,
        "Subject.shards": 1,
        "Subject.max_retries": 5,
        "Claim.shards": 1,
        "Limits.statement": 30 * seconds,
        "Limits.lock": 5 * seconds,
        "Limits.idle": 60 * seconds,
        "Limits.jit": True,
        "Rest.share": 0.1,
    }
    reports = {
        "Verdict.transfers": 1,
        "Verdict.ticket_is_due": True,
        "Command.rows": 1,
        "Advice.changes": True,
        "DeadCount.closings_known": True,
        "CleanupReport.closings_known": True,
        "Evidence.publishers_known": True,
        "LongestWait.is_longest": True,
    }
    assert {name: value for name, value in defaults().items() if value} == options | reports
