"""Test that ``stats``, ``doctor`` and ``show`` agree about an event that failed and whose next try is overdue."""

from __future__ import annotations

import re

import pytest

from tests.cli.commands.why_events_wait.conftest import MINUTES, ONE_PAYMENT, SEEN

pytestmark = pytest.mark.postgres

FAILED = {"retry_count": 3, "last_error": "BrokerError: no", "age": 2 * MINUTES}
BEHIND = {"age": MINUTES}
BY_HAND = "wait for the next scheduled run; if none is scheduled, publish by hand"
TRIES = "NO TICKET: the event failed 3 times (BrokerError), and its next try is overdue"


@pytest.fixture
def agree(world, answer):
    """Return a function that runs the three commands and returns what each says and which command it suggests."""

    def run():
        (cause,) = answer("stats", **world)["result"]["causes"]
        (item,) = answer("doctor", "--only", "backlog", **world)["items"]
        newest = answer("list", "outbox", **world)["items"][0]["id"]
        result = answer("show", newest, **world)["result"]
        return cause, item, result

    return run


@pytest.mark.parametrize("steps", [[FAILED], [FAILED, BEHIND, ONE_PAYMENT]], ids=["itself", "behind"])
@pytest.mark.parametrize(
    ("seen", "fact"),
    [
        ([], "no publisher has ever run on this database"),
        ([SEEN.format("12 min")], "no publisher has been seen for 12 min"),
        ([SEEN.replace(":x", ":x ended").format("20 s")], "no publisher is running: host:12 ended "),
    ],
    ids=["never", "gone", "ended"],
)
def test_every_command_says_that_no_publisher_runs(given, agree, steps, seen, fact):
    """If no publisher is running, all three commands say so, and all of them suggest publishing by hand."""
    given(*steps, *seen)
    cause, item, result = agree()
    (advice,) = result["next"]
    assert {each["command"] for each in (cause, item, advice)} == {"payctl publish-outbox"}
    for said in (f"{cause['fact']} {cause['meaning']}", f"{item['fact']} {item['meaning']}", result["verdict"]["text"]):
        assert fact in said
    if "ended" in fact:
        assert cause["advice"] == advice["why"] == BY_HAND
        assert f"and its next try is overdue: {fact}" in result["verdict"]["text"]


ENDED = SEEN.replace(":x", ":x ended").format("20 s")
FRESH = {"age": MINUTES}
UNANSWERED = {**FRESH, "last_error": "UNKNOWN_TOPIC_OR_PART: Broker: Unknown topic or partition"}
DOCTOR, BACKLOG = "payctl doctor", "payctl doctor --only backlog"


@pytest.mark.parametrize(("event", "advised"), [(FRESH, DOCTOR), (FAILED, BACKLOG)], ids=["new", "failed"])
@pytest.mark.parametrize("seen", [ENDED, SEEN.format("20 s")], ids=["ended", "running"])
def test_show_does_not_blame_the_publisher_for_a_locked_event(given, agree, engine, seen, event, advised):
    """If a session locks the event, `stats` and `doctor` name it, and `show` advises `doctor`, not a publisher."""
    given(event, seen)
    with engine.connect() as other:
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.exec_driver_sql("SELECT id FROM outbox FOR UPDATE")
        cause, item, result = agree()
    assert cause["fact"].startswith(f"1 event is locked by pid {pid}")
    assert item["fact"].startswith(f"1 event is locked by pid {pid}")
    assert "no publisher is running" not in result["verdict"]["text"]
    assert [each["command"] for each in result["next"]] == [advised]


def test_show_does_not_blame_the_publisher_for_an_event_without_an_answer(given, agree):
    """If the last attempt used up no retry, `stats` and `doctor` name its error, and `show` advises `doctor`."""
    given(UNANSWERED, ENDED)
    cause, item, result = agree()
    assert re.search("the last attempt failed, but used up no retry: UNKNOWN_TOPIC", cause["fact"])
    assert re.search("the last attempt failed, but used up no retry: UNKNOWN_TOPIC", item["fact"])
    assert "no publisher is running" not in result["verdict"]["text"]
    assert [each["command"] for each in result["next"]] == [DOCTOR]


def test_show_does_not_blame_the_publisher_if_the_cause_is_unknown(given, agree):
    """If the last publisher ended without sending an older event, `show` advises `doctor`, which asks the brokers."""
    given(FRESH, ENDED)
    cause, _, result = agree()
    assert cause["cause"] == "unknown"
    assert "no publisher is running" not in result["verdict"]["text"]
    assert [each["command"] for each in result["next"]] == [DOCTOR]


def test_the_commands_do_not_refer_to_each_other_in_a_circle(given, agree):
    """If a publisher is running, `stats` and `doctor` name `show`, and `show` does not name `doctor`."""
    given(FAILED, SEEN.format("20 s"))
    cause, item, result = agree()
    assert cause["command"] == item["command"]
    assert cause["command"].startswith("payctl show ")
    assert [each["command"] for each in result["next"]] == ["payctl publish-outbox"]
    assert TRIES in result["verdict"]["text"]
    assert "no publisher has sent it" not in result["verdict"]["text"]
