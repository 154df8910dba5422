"""Test the runbook's log filters with log lines from the functions, AWS's runtime and Lambda itself."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.lambda_entrypoints import events
from ticketbottle_payctl.providers import GATEWAYS

DOCS = Path(__file__).parents[2] / "docs"
FILTERS = {
    pattern
    for page in ("runbook.md", "deploy.md")
    for pattern in re.findall(r"--filter-pattern[ \\\n]+'([^']+)'", (DOCS / page).read_text("utf-8"))
}
ERRORS = '{ $.level = "ERROR" }'
FAILURES = next((each for each in FILTERS if "$.record.status" in each), "")
PROBES = '{ $.message = "probe" }'
SCHEDULED = events.read("scheduler-publish-outbox.json")
JSON_LOGS = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}

# These lines follow AWS's pages "Lambda Telemetry API Event schema reference" and "Log formats". The emulator does not
# write such lines.
PLATFORM = {
    "success": {"type": "platform.report", "record": {"requestId": "r", "status": "success"}},
    "timeout": {"type": "platform.report", "record": {"status": "timeout", "errorType": "Sandbox.Timedout"}},
    "killed": {"type": "platform.report", "record": {"status": "failure", "errorType": "Runtime.ExitError"}},
    "no init": {"type": "platform.initReport", "record": {"status": "error", "errorType": "Runtime.ImportModuleError"}},
    "start": {"type": "platform.start", "record": {"requestId": "r", "version": "$LATEST"}},
}


def matches(pattern, line):
    """Return whether a line matches a filter such as `{ $.a.b = "text" || ... }`, in which * matches any text."""
    assert re.fullmatch(r'\{ (\$[\w.]+ = "[^"]*"( \|\| )?)+ \}', pattern), pattern
    for path, wanted in re.findall(r'\$\.([\w.]+) = "([^"]*)"', pattern):
        found = line
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str) and fnmatchcase(found, wanted):
            return True
    return False


def test_the_runbook_has_three_kinds_of_log_filters():
    """The runbook has three log filters: for payctl's errors, for Lambda's failures, and for the probe."""
    assert {ERRORS, FAILURES, PROBES} == FILTERS


def test_the_error_filter_finds_an_error_of_the_webhook(lambda_):
    """The runbook's error filter finds the line about a failed callback, and no other line."""
    function = lambda_("webhook", timeout=10, DATABASE_URL="postgresql://a:b@127.0.0.1:1/c", **JSON_LOGS)
    function.invoke(events.read("momo.json"))
    found = [line for line in function.lines() if matches(ERRORS, line)]
    assert [line["message"] for line in found] == ["webhook_failed"]
    assert any("_aws" in line for line in function.lines())


@pytest.mark.parametrize("name", ["watch_payments", "probe"])
def test_the_failure_filter_finds_an_exception(lambda_, name):
    """The runbook's failure filter finds an exception twice: in payctl's line and in the line from AWS's runtime."""
    function = lambda_(name, timeout=10, DATABASE_URL="postgresql://a:b@127.0.0.1:1/c", **JSON_LOGS)
    function.invoke(SCHEDULED)
    ours, runtimes = (line for line in function.lines() if matches(FAILURES, line))
    assert ours["message"] == f"{name}_failed"
    assert runtimes["errorType"] in {"DatabaseUnavailableError", "ConfigError"}
    assert [line for line in function.lines() if matches(ERRORS, line)] == [ours, runtimes]


def test_the_failure_filter_finds_a_package_that_cannot_be_imported(lambda_):
    """The runbook's failure filter finds the runtime's line about a module that cannot be imported."""
    function = lambda_("unheard_of", timeout=10, **JSON_LOGS)
    function.invoke(SCHEDULED)
    found = [line for line in function.lines() if matches(FAILURES, line)]
    assert {line["errorType"] for line in found} == {"Runtime.ImportModuleError"}


def test_the_failure_filter_finds_what_lambda_itself_reports():
    """The runbook's failure filter finds Lambda's report about a run that timed out, was killed or never started."""
    assert {name for name, line in PLATFORM.items() if matches(FAILURES, line)} == {"timeout", "killed", "no init"}


def test_the_probe_filter_finds_each_verdict(lambda_):
    """The runbook's probe filter finds one line for each gateway."""
    function = lambda_("probe", timeout=30, PAYCTL_PROBE_URL="http://127.0.0.1:1", **JSON_LOGS)
    function.invoke(SCHEDULED)
    assert len([line for line in function.lines() if matches(PROBES, line)]) == len(GATEWAYS)


def test_debug_lines_and_metrics_reach_the_log(lambda_, database_url, shop, paid):
    """LOG_LEVEL decides which lines the webhook logs, but metrics are logged at every level."""
    for level, expected in (("error", []), ("info", ["webhook_settled"])):
        function = lambda_("webhook", timeout=10, DATABASE_URL=database_url, LOG_LEVEL=level, **JSON_LOGS)
        function.invoke(paid(shop.payment("momo")))
        assert [line["message"] for line in function.lines() if "level" in line] == expected
        assert function.sums()["WebhookAccepted"] == 1
