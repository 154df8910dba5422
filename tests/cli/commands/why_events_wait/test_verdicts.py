"""Test that the marks, verdicts and exit codes of ``stats``, ``report`` and ``doctor`` agree about waiting events."""

from __future__ import annotations

import re

import pytest

from tests.cli.commands.why_events_wait.conftest import DEAD, HALF_A_MINUTE, MINUTES, ONE_PAYMENT, SECONDS, SEEN

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("steps", "first_line", "causes", "check"),
    [
        ([], "✔  nothing is pending", [], 0),
        ([{"state": "published"}], "✔  nothing is pending", [], 0),
        ([{"state": "sent_unmarked"}], "✔  nothing is pending", [], 0),
        ([{"age": SECONDS}], r"✔  oldest pending event: \d.\d+ s", [], 0),
        ([{"age": SECONDS}, SEEN.format("1 h")], r"✔  oldest pending event: \d.\d+ s", [], 0),
        ([{"age": HALF_A_MINUTE}], r"!  oldest pending event: 3\S+ s  no publisher is active", [], 0),
        ([{"age": HALF_A_MINUTE}, SEEN.format("1 h")], r"!  oldest pending .*  no publisher is active", [], 0),
        ([{"age": HALF_A_MINUTE}, SEEN.format("40 s")], r"✔  oldest pending .*  no publisher is active", [], 0),
        ([DEAD], "!  1 dead", ["no_ticket", "dead"], 5),
        ([DEAD, {"state": "published"}], "!  1 dead", ["no_ticket", "dead"], 5),
        ([DEAD, {"age": SECONDS}], r"!  oldest pending event: \d.\d+ s  1 dead", ["no_ticket", "dead"], 5),
        ([DEAD, {"age": SECONDS}, ONE_PAYMENT], r"!  oldest pending event: \d.\d+ s  1 dead  1 blocked",
         ["no_ticket", "dead", "blocked"], 5),
        ([{"age": MINUTES}], r"!  oldest pending event: 10 min( \d s)?", ["no_publisher"], 5),
        ([{"age": MINUTES}, SEEN.format("1 h")], r"!  oldest pending event: 10 min( \d s)?", ["no_publisher"], 5),
        ([{"age": MINUTES}, SEEN.format("9 s")], r"!  oldest pending event: 10 min( \d s)?", ["unknown"], 5),
        ([{"age": MINUTES / 4}], r"!  oldest pending event: 2 min 3\d s", ["no_publisher"], 0),
        ([DEAD, {"age": MINUTES}, ONE_PAYMENT, {"age": MINUTES}], "!  oldest pending event: .*  1 dead  1 blocked",
         ["no_publisher", "no_ticket", "dead", "blocked"], 5),
        ([{"age": MINUTES / 4, "retry_count": 8}], r"!  oldest pending event: 2 min 3\d s", ["not_due"], 0),
    ],
)  # fmt: skip
def test_stats_show_a_tick_only_if_no_event_is_dead_blocked_or_overdue(
    world, given, invoke, answer, steps, first_line, causes, check
):
    """`payctl stats` names each cause of a delay. `stats --check` shows a cross only if it exits with 5."""
    given(*steps)
    environment = {**world, "OUTBOX_MAX_RETRIES": "20" if "retry_count" in str(steps) else "5"}
    shown = invoke("stats", **environment)
    assert (shown.exit_code, bool(re.fullmatch(first_line, shown.stdout.splitlines()[0]))) == (0, True), shown.stdout
    assert [cause["cause"] for cause in answer("stats", **environment)["result"]["causes"]] == causes
    checked = invoke("stats", "--check", **environment)
    verdict, *rest = checked.stdout.splitlines()
    expected = "✘" if check else "✔ within the limits" if first_line.startswith("!") else "✔ healthy"
    assert (checked.exit_code, verdict.startswith(expected)) == (check, True), verdict
    assert not any(line.startswith(("✔", "✘", "!")) for line in rest)


@pytest.mark.parametrize(
    ("limits", "code", "verdict"),
    [
        (["--max-failed", "1"], 0, "✔ within the limits"),
        (["--max-failed", "0"], 5, "✘  1 dead event, more than 0"),
    ],
)
def test_stats_check_within_its_limits_still_counts_dead_events(world, given, invoke, limits, code, verdict):
    """If the count of dead events is within its limit, the verdict of `stats --check` is "within the limits"."""
    given(DEAD)
    result = invoke("stats", "--check", *limits, **world)
    assert (result.exit_code, result.stdout.splitlines()[:2]) == (code, [verdict, "1 dead"])


def test_stats_say_at_once_that_no_publisher_is_working(world, given, invoke, answer):
    """If no publisher is active, `payctl stats` shows when the last one was active, instead of a forecast."""
    given({"age": HALF_A_MINUTE}, SEEN.format("40 s"))
    assert re.search(r"drain\tno publisher is active; last activity 4\S+ s ago\n", invoke("stats", **world).stdout)
    assert answer("stats", **world)["result"]["idle"].startswith("no publisher is active; last activity")
    given("DELETE FROM outbox")
    assert answer("stats", **world)["result"]["idle"] is None


@pytest.mark.parametrize(
    ("age", "seen", "advice"),
    [
        (SECONDS, "1 h", None),
        (HALF_A_MINUTE, "1 h", "start the publisher again; until then, publish by hand"),
        (HALF_A_MINUTE, "40 s", "wait for the next run of the publisher"),
    ],
)
def test_the_report_names_stats_only_if_stats_shows_a_next_step(world, given, invoke, terminal, age, seen, advice):
    """If an event has waited for more than ten seconds, `report` suggests `stats`, and `stats` shows a next step."""
    given({"age": age}, SEEN.format(seen))
    document, stats = invoke("report", **world).stdout, invoke("stats", **world).stdout
    with terminal("report", **world) as it:
        it.finish()
        screen = it.sent.decode()
    named = ["Why events wait" in document, "why events wait" in screen, "next:" in stats]
    assert named == [advice is not None] * 3
    assert advice is None or advice in stats


def test_stats_show_a_next_step_while_a_publisher_sends_young_events(world, given, invoke):
    """If a publisher has just sent an event, `stats` suggests a command for watching the backlog."""
    given({"age": HALF_A_MINUTE}, {"state": "published", "age": SECONDS}, SEEN.format("40 s"))
    shown = invoke("stats", **world).stdout
    assert "an event is overdue after 2 min; until then, make sure that the backlog shrinks" in shown
    assert "payctl stats --watch" in shown


def test_a_wait_that_ends_with_dead_events_shows_a_warning(world, given, invoke):
    """If its condition is true, `stats --wait` exits with 0, and its second output line counts the dead events."""
    given(DEAD)
    result = invoke("stats", "--wait", "pending=0", **world)
    assert (result.exit_code, result.stdout.splitlines()[:2]) == (
        0,
        ["!  pending=0  was reached; remaining problems:", "1 dead"],
    )


@pytest.mark.parametrize("steps", [[{"age": MINUTES}], [DEAD], [{"age": MINUTES / 4, "retry_count": 8}]])
def test_the_doctor_is_not_ok_if_events_are_dead_or_overdue(world, given, invoke, keys, steps):
    """If events are dead or overdue, the doctor's first line, last line and exit code agree."""
    given(*steps)
    result = invoke("doctor", **{**world, **keys, "OUTBOX_MAX_RETRIES": "20" if "retry" in str(steps) else "5"})
    first, *_, last = result.stdout.splitlines()
    failed = int(re.search(r"(\d+) fail", last)[1])
    assert first.startswith("✘" if failed else "!")
    assert result.exit_code == (5 if failed else 0)


SILENT = "no publisher is active"


@pytest.mark.parametrize(
    ("age", "seen", "sent", "silent"),
    [
        (SECONDS, "40 s", False, False),
        (HALF_A_MINUTE, "40 s", False, True),
        (HALF_A_MINUTE, "9 s", False, True),
        (HALF_A_MINUTE, "40 s", True, False),
        (HALF_A_MINUTE, "95 s", False, True),
    ],
    ids=["new event", "killed", "killed just now", "sends other events", "killed long ago"],
)
def test_all_screens_give_one_verdict_on_a_publisher_that_was_killed(world, given, invoke, age, seen, sent, silent):
    """If an event waits and a publisher was seen lately, `stats`, `doctor` and `show` say that no publisher is active.

    A killed publisher records no end, so the waiting event is the first sign. Before that, the killed publisher counts
    as idle.
    """
    given({"age": age}, "UPDATE outbox SET id = 'waits'", SEEN.format(seen))
    given(*[{"state": "published", "age": SECONDS}][: int(sent)])
    stats = invoke("stats", **world).stdout
    doctor = invoke("doctor", "--only", "publishers", **world).stdout
    shown = invoke("show", "waits", **world).stdout
    said = [SILENT in stats, "one publisher is idle" not in doctor, "host:12 was seen" not in shown]
    assert said == [silent] * 3, doctor + shown
    if silent and seen != "95 s":
        assert [SILENT in doctor, SILENT in shown] == [True, True]
