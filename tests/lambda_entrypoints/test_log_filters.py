"""Test the runbook's log filters on log lines from the functions, AWS's runtime and Lambda itself."""

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
TICKS = '{ $.message = "publish_outbox_ended" }'
SETTLED = '{ $.message = "webhook_settled" && $.provider = "vnpay" }'
NOT_PREPARED = '{ $.message = "webhook_not_prepared" }'
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
    """Return whether a line matches a filter such as `{ $.a.b = "text" || ... }`, in which * matches any text.

    The comparisons in a filter are joined by either ``||`` or ``&&``.
    """
    assert re.fullmatch(r'\{ (\$[\w.]+ = "[^"]*"( \|\| | && )?)+ \}', pattern), pattern
    assert not (" || " in pattern and " && " in pattern), pattern
    results = []
    for path, wanted in re.findall(r'\$\.([\w.]+) = "([^"]*)"', pattern):
        found = line
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        results.append(isinstance(found, str) and fnmatchcase(found, wanted))
    return all(results) if " && " in pattern else any(results)


def test_the_pages_have_six_kinds_of_log_filters():
    """The docs have log filters for errors, Lambda's failures, the probe, ticks, callbacks and a failed preparation."""
    assert {ERRORS, FAILURES, PROBES, TICKS, SETTLED, NOT_PREPARED} == FILTERS


def test_the_error_filter_finds_an_error_of_the_webhook(lambda_):
    """The runbook's error filter finds only the line about a failed callback."""
    function = lambda_("webhook", timeout=10, DATABASE_URL="postgresql://a:b@127.0.0.1:1/c", **JSON_LOGS)
    function.invoke(events.read("momo.json"))
    found = [line for line in function.lines() if matches(ERRORS, line)]
    assert [line["message"] for line in found] == ["webhook_failed"]
    assert any("_aws" in line for line in function.lines())


@pytest.mark.parametrize("name", ["watch_payments", "probe"])
def test_the_failure_filter_finds_an_exception(lambda_, name):
    """The runbook's failure filter finds an exception both in payctl's line and in the line from AWS's runtime."""
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


@pytest.mark.parametrize(("working", "found"), [(True, 0), (False, 1)])
def test_the_filter_for_a_new_stack_finds_a_login_that_does_not_work(lambda_, database_url, working, found):
    """If a provisioned webhook cannot log in to the database, it writes one line that the filter finds."""
    url = database_url if working else "postgresql://a:b@127.0.0.1:1/c"
    how = {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"}
    function = lambda_("webhook", timeout=10, DATABASE_URL=url, **how, **JSON_LOGS)
    function.invoke({"rawPath": "/nothing"})
    assert len([line for line in function.lines() if matches(NOT_PREPARED, line)]) == found


def test_debug_lines_and_metrics_reach_the_log(lambda_, database_url, shop, paid):
    """LOG_LEVEL decides which lines the webhook logs, but metrics are logged at every level."""
    for level, expected in (("error", []), ("info", ["webhook_settled"])):
        function = lambda_("webhook", timeout=10, DATABASE_URL=database_url, LOG_LEVEL=level, **JSON_LOGS)
        function.invoke(paid(shop.payment("momo")))
        assert [line["message"] for line in function.lines() if "level" in line] == expected
        assert function.sums()["WebhookAccepted"] == 1


# -- queries in CloudWatch Logs Insights ---------------------------------------------------------------------------

QUERIES = re.findall(r"^```\n(filter .+)\n```$", (DOCS / "runbook.md").read_text("utf-8"), re.MULTILINE)
WORDS = {
    *("filter", "like", "stats", "fields", "sort", "desc", "by", "as", "count", "latest", "max"),
    *("lines", "last", "callbacks", "slowest_ms"),  # the names that the queries give to results
}


def value(line, path):
    """Return the value of a field such as `counts.published` in a log line, or None."""
    for name in path.split("."):
        line = line.get(name) if isinstance(line, dict) else None
    return line


def kept(query, lines):
    """Return the lines that match the query's filter, which compares one field with a string or a pattern."""
    field, text, pattern = re.match(r'filter (\w+) (?:= "([^"]+)"|like /([^/]+)/) \|', query).groups()
    wanted = re.compile(pattern or f"^{re.escape(text)}$")
    return [line for line in lines if isinstance(value(line, field), str) and wanted.search(value(line, field))]


def test_the_runbook_s_queries_find_lines_and_fields(lambda_, database_url, shop, paid, mock_kafka):
    """Each Logs Insights query in the runbook finds payctl's log lines, and uses only fields that these lines have."""
    webhook = lambda_("webhook", timeout=10, DATABASE_URL=database_url, **JSON_LOGS)
    for scenario in ("zalopay", "momo"):
        webhook.invoke(paid(shop.payment(scenario)))
    webhook.invoke(events.read("zalopay.json"))  # this order is unknown
    broken = lambda_("webhook", timeout=10, DATABASE_URL="postgresql://a:b@127.0.0.1:1/c", **JSON_LOGS)
    broken.invoke(events.read("momo.json"))
    settings = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_LOOP_SECONDS": "0"}
    publisher = lambda_("publish_outbox", timeout=60, **settings, **JSON_LOGS)
    publisher.invoke(SCHEDULED)
    lines = [*webhook.lines(), *broken.lines(), *publisher.lines()]
    assert len(QUERIES) == 3
    for query in QUERIES:
        found = kept(query, lines)
        assert found, query
        fields = set(re.findall(r"[a-z][\w.]+", re.sub(r'"[^"]*"|/[^/]*/', "", query))) - WORDS
        assert len(fields) >= 3, query
        unknown = {field for field in fields if not any(value(line, field) is not None for line in found)}
        assert unknown == set(), query
