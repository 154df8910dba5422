"""Test that every screen names a publisher that cannot reach its brokers."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.why_events_wait.conftest import DEAD, HALF_A_MINUTE, MINUTES, ONE_PAYMENT, SECONDS, SEEN
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres


CUT_OFF = """INSERT INTO payctl.publishers VALUES (1, 'host:12:x cannot reach its brokers: no broker answers',
    clock_timestamp() - interval '4 s')"""


NO_BROKERS = r"host:12 could not reach its brokers \S+ s ago: no broker answers"


def test_a_run_without_brokers_is_the_cause_on_every_screen(world, given, invoke):
    """After a run that reached no broker, `stats` and `show` name its brokers.

    The doctor names the brokers first, and does not suggest the run that failed. If the brokers answer the doctor, it
    suggests the next run.
    """
    given({"age": MINUTES})
    away = {**world, "KAFKA_BROKERS": "127.0.0.1:1"}
    assert invoke("publish-outbox", "--deadline", "1s", **away).exit_code == 4
    shown = invoke("stats", **away).stdout
    event = re.search(r"oldest pending id\t(\S+)", shown)[1]
    for text in (shown, invoke("show", event, **away).stdout):
        assert re.search(r"could not reach its brokers \S+ \S+ ago: Kafka at 127.0.0.1:1 is not available", text), text
        assert "payctl doctor --only kafka --only backlog" in text
        assert "payctl publish-outbox" not in text
    said = invoke("doctor", "--only", "backlog", **away).stdout
    assert said.startswith("✘  Kafka at 127.0.0.1:1 is not available")
    assert "payctl publish-outbox" not in said
    said = invoke("doctor", "--only", "backlog", **world).stdout
    assert "the brokers answer now; wait for the next scheduled run" in said


def test_a_publisher_that_waits_for_its_brokers_is_seen_as_such(world, given, started, answer, invoke):
    """If a publisher loop waits for its brokers, `stats`, `doctor` and a waiting replay name the brokers as the cause.

    The loop records the outage in the database, so no screen says that a publisher is working.
    """
    given({"age": MINUTES})
    away = {**world, "KAFKA_BROKERS": "127.0.0.1:1"}
    started("publish-outbox", "--loop", **away)
    found = []

    def brokers_are_the_cause():
        found[:] = answer("stats", **away)["result"]["causes"]
        return [cause["cause"] for cause in found] == ["brokers"]

    wait_until(brokers_are_the_cause, what="the publisher's first attempt", timeout=20)
    assert "could not reach its brokers" in found[0]["fact"]
    assert found[0]["command"] == "payctl doctor --only kafka --only backlog"
    stats = answer("stats", **away)["result"]
    assert stats["idle"].startswith("the publisher cannot reach its brokers; the last attempt was")
    (finding,) = answer("doctor", "--only", "publishers", **away)["items"]
    assert (finding["status"], "could not reach its brokers" in finding["fact"]) == ("warn", True)
    (finding,) = answer("doctor", "--only", "backlog", **away)["items"]
    assert "127.0.0.1:1 is not available" in finding["fact"]
    waits = invoke("replay", "--all", "-y", "--canary", "1", "--canary-timeout", "300ms", **away)
    assert (waits.exit_code, "brokers unreachable" in waits.stderr) == (10, True)


def test_a_young_event_after_a_publisher_ended_waits_for_the_next_run(world, given, invoke):
    """After the last publisher has ended, `stats` says that none is running, and advises to wait for the next run."""
    sent = {"state": "published", "age": timedelta(seconds=5)}
    given({"age": HALF_A_MINUTE}, sent, SEEN.format("1 s").replace(":x", ":x ended"))
    shown = invoke("stats", **world).stdout
    assert re.match(r"✔  oldest pending event: \S+ s  no publisher is active\n", shown), shown
    assert "wait for the next scheduled run; if none is scheduled, publish by hand" in shown
    assert "payctl publish-outbox" in shown
    assert re.search(r"drain\tno publisher is active; the last one ended \S+ s ago\n", shown)


@pytest.mark.parametrize("steps", [[DEAD], [DEAD, {"age": SECONDS}, ONE_PAYMENT]])
def test_stats_name_a_publisher_without_brokers_if_only_dead_or_blocked_events_are_left(world, given, invoke, steps):
    """If no event can be sent, `stats` still says that the last publisher could not reach its brokers."""
    given(*steps)
    before = invoke("stats", **world).stdout
    given(CUT_OFF)
    after = invoke("stats", **world).stdout
    assert ("its brokers" in before, "\npublisher\t" in before) == (False, False)
    assert re.search(f"\npublisher\t{NO_BROKERS}", after), after


@pytest.mark.parametrize("age", [timedelta(seconds=1), HALF_A_MINUTE])
def test_show_names_a_publisher_without_brokers_before_the_event_is_overdue(world, given, invoke, execute, age):
    """`show` says that the last publisher could not reach its brokers, and does not advise sending the event now.

    After a publisher has sent another event, the brokers are available, so `show` advises sending this event.
    """
    given({"age": age})
    (event,) = execute("SELECT id FROM outbox")
    assert "payctl publish-outbox" in invoke("show", event, **world).stdout
    given(CUT_OFF)
    shown = invoke("show", event, **world).stdout
    assert re.search(f"has waited .* for a publisher: publisher {NO_BROKERS}", shown), shown
    assert ("payctl doctor --only kafka" in shown, "payctl publish-outbox" in shown) == (True, False)
    given({"state": "published"})
    assert "payctl publish-outbox" in invoke("show", event, **world).stdout


def test_stats_and_doctor_agree_that_an_outage_is_over_when_an_event_was_sent_since(world, given, invoke):
    """If an event was sent since a publisher could not reach its brokers, neither `stats` nor `doctor` warns."""
    given(CUT_OFF)
    assert [invoke(*words, **world).stdout[0] for words in (["stats"], ["doctor", "--only", "publishers"])] == [
        "!",
        "!",
    ]
    given({"state": "published", "age": SECONDS})
    assert [invoke(*words, **world).stdout[0] for words in (["stats"], ["doctor", "--only", "publishers"])] == [
        "✔",
        "✔",
    ]


def test_stats_and_doctor_warn_about_a_publisher_without_brokers_if_nothing_is_pending(invoke, database_url):
    """If a publisher could not reach its brokers, `stats` and `doctor` both warn, even if no event is pending."""
    away = {"DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}
    assert invoke("publish-outbox", "--deadline", "1s", **away).exit_code == 4
    shown = invoke("stats", **away).stdout
    assert shown.startswith("!  nothing is pending")
    assert "could not reach its brokers" in shown
    assert invoke("doctor", "--only", "publishers", **away).stdout.startswith("!")
