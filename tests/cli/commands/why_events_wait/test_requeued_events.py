"""Test the output of ``stats``, ``doctor`` and ``show`` about events that a replay has requeued."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.cli.commands.why_events_wait.conftest import DEAD, ONE_PAYMENT, SEEN

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("command", ["stats", "doctor", "show"])
def test_every_command_shows_the_age_and_the_replay_of_a_requeued_event(world, given, invoke, ask, command):
    """After a replay, `stats`, `doctor` and `show` say when the event was written, and when it was requeued."""
    given({"state": "dead", "last_error": "INVALID_REQUEST: no", "age": timedelta(hours=2)})
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    (event,) = [item["id"] for item in ask("list", "outbox")["items"]]
    said = invoke(command, *([event] if command == "show" else []), **world).stdout
    if command == "show":
        assert re.search("requeued (just now|.* ago), written 2 h ago; waiting for a publisher", said)
    else:
        assert re.search("1 event, written 2 h ago, has waited for .* since its replay", said)


PUBLISHER = "INSERT INTO payctl.publishers VALUES (1000, 'host:12:x{}', clock_timestamp())"
OLD_DEAD = {"state": "dead", "last_error": "INVALID_REQUEST: no", "age": timedelta(hours=2)}
BEHIND = {"age": timedelta(hours=1), "event_type": "PAYMENT_CANCELLED"}


@pytest.mark.parametrize("steps", [[OLD_DEAD], [OLD_DEAD, BEHIND, ONE_PAYMENT]], ids=["alone", "blocking"])
@pytest.mark.parametrize(("publisher", "cause"), [("", "rescan"), (" ended", "between_runs")], ids=["idle", "ended"])
def test_requeued_events_wait_for_the_publisher_s_next_look_at_old_events(
    world, given, invoke, ask, steps, publisher, cause
):
    """After a replay, no screen reports an unknown cause, and none says that an idle publisher is not active.

    The later events of the requeued payment were blocked until the replay, so they wait for the same reason.
    """
    given(*steps, PUBLISHER.format(publisher))
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    found = ask("stats")["result"]
    assert [each["cause"] for each in found["causes"]] == [cause]
    assert found["pending"] == sum(each["events"] for each in found["causes"])
    shown, said = invoke("stats", **world).stdout, invoke("doctor", "--only", "backlog", **world)
    assert (said.exit_code, said.stdout.startswith("!")) == (0, True)
    for text in (shown, said.stdout):
        assert ("a running publisher looks at old events every 30 s" in text) is (cause == "rescan")
        assert ("no publisher is" in text) is (cause == "between_runs")
        assert "does not show why" not in text


@pytest.mark.parametrize("age", [timedelta(seconds=60), timedelta(hours=2)], ids=["new", "overdue"])
@pytest.mark.parametrize("others", [[], [{"state": "published", "age": timedelta(seconds=5)}]], ids=["alone", "sends"])
def test_stats_and_replay_explain_the_wait_of_a_requeued_event_with_the_same_words(
    world, given, invoke, ask, age, others
):
    """After a replay, `stats` says when the publisher looks at old events, even if the event is not overdue yet.

    It makes no difference whether the publisher has just sent other events.
    """
    given({**OLD_DEAD, "age": age}, *others, PUBLISHER.format(""))
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    shown = invoke("stats", **world).stdout
    assert "drain\tno trend yet: a running publisher looks at old events every 30 s\n" in shown
    assert shown.count("a running publisher looks at old events every 30 s, and then sends") == 1
    assert "shrink" not in shown


@pytest.mark.parametrize("events", [1, 2])
def test_doctor_and_stats_say_since_when_requeued_events_wait(world, given, answer, ask, events):
    """Without a publisher, the lines about publishers and the backlog name the same age, also for several events."""
    given({**OLD_DEAD, "count": events})
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == events
    given("UPDATE payctl.run_items SET at = at - interval '3 min'")
    publishers, backlog = answer("doctor", "--only", "publishers", "--only", "backlog", **world)["items"]
    (cause,) = answer("stats", **world)["result"]["causes"]
    for text in (publishers["meaning"], backlog["meaning"], cause["meaning"]):
        assert re.search(r"written 2 h ago,? has waited for 3 min( \d+ s)? since its replay", text), text


LONGEST = re.compile(r"^payctl_outbox_longest_wait_seconds (\S+)$", re.MULTILINE)


def test_an_alarm_counts_the_wait_of_a_requeued_event_from_its_replay(world, given, invoke, answer, ask):
    """`stats --check` and the metric of the longest wait do not count the time before a replay.

    If the event then waits too long, the check fails, and says how long the event has waited since its replay.
    """
    given(OLD_DEAD)
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    healthy = answer("stats", "--check", **world)
    assert (healthy["exit_code"], healthy["result"]["longest_wait_s"] < 120) == (0, True)
    assert healthy["result"]["oldest_pending_age_s"] > 7_000
    assert float(LONGEST.search(invoke("stats", "--prometheus", **world).stdout)[1]) < 120
    given("UPDATE payctl.run_items SET at = at - interval '6 min'")
    late = answer("stats", "--check", **world)
    assert late["exit_code"] == 5
    assert re.fullmatch(
        "an event has waited for 6 min( \\S+ s)? since its replay, more than 5 min", late["result"]["reasons"][0]
    )


def test_an_alarm_does_not_miss_an_event_behind_requeued_ones(world, given, answer, ask):
    """If an older event has just been requeued, `stats --check` still fails for another event that waits too long."""
    given(OLD_DEAD)
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    given({"age": timedelta(minutes=7)})
    late = answer("stats", "--check", **world)
    assert late["exit_code"] == 5
    assert re.fullmatch("an event has waited for 7 min( \\S+ s)?, more than 5 min", late["result"]["reasons"][0])


@pytest.mark.parametrize(
    ("seen", "headline", "kinds", "advice", "command"),
    [
        (":x", "!", ["rescan"], None, "payctl stats --watch"),
        (":x ended", "!", ["between_runs"], "wait for the next scheduled run; if none is scheduled, publish by hand",
         "payctl publish-outbox"),
    ],
)  # fmt: skip
def test_an_ended_publisher_does_not_count_as_running(
    world, given, invoke, answer, seen, headline, kinds, advice, command
):
    """If the last publisher has ended, a replayed event waits for the next run, otherwise for the next rescan."""
    given({**DEAD, "last_error": "TIMED_OUT: no"}, SEEN.format("20 s").replace(":x", seen))
    assert invoke("replay", "--failed", "-y", **world).exit_code == 0
    (cause,) = answer("stats", **world)["result"]["causes"]
    assert ([cause["cause"]], cause["advice"], cause["command"]) == (kinds, advice, command)
    assert invoke("stats", **world).stdout[0] == headline
    ended = seen.endswith("ended")
    assert ("no publisher is running: host:12 ended" in cause["fact"]) is ended
    assert ("Nothing is lost: a scheduled publisher starts again within a minute" in cause["meaning"]) is ended


def test_doctor_gives_a_requeued_event_one_age(world, given, ask, invoke, answer):
    """In `payctl doctor`, the lines about publishers and about the backlog both count from the event's replay.

    The line about publishers warns only if the event is overdue, counted from its replay.
    """
    given({"state": "dead", "last_error": "INVALID_REQUEST: no", "age": timedelta(hours=2)})
    assert ask("replay", "--failed", "-y")["counts"]["requeued"] == 1
    assert answer("doctor", "--only", "publishers", **world)["items"][0]["status"] == "ok"
    given("UPDATE payctl.run_items SET at = at - interval '3 min'")
    publishers, backlog = answer("doctor", "--only", "publishers", "--only", "backlog", **world)["items"]
    assert re.fullmatch("an event written 2 h ago has waited for .* since its replay", publishers["meaning"])
    assert "1 event, written 2 h ago, has waited for" in backlog["meaning"]
    assert invoke("doctor", "--only", "publishers", **world).stdout[0] == "!"
