"""Test that ``stats`` and ``doctor`` explain why events are waiting and suggest the right commands."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.jobs.stats import count_harmless_dead
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres

MINUTES = timedelta(minutes=10)
SECONDS = timedelta(seconds=1)
HALF_A_MINUTE = timedelta(seconds=30)
SEEN = "INSERT INTO payctl.publishers VALUES (1000, 'host:12:x', clock_timestamp() - interval '{}')"
CUT_OFF = """INSERT INTO payctl.publishers VALUES (1, 'host:12:x cannot reach its brokers: no broker answers',
    clock_timestamp() - interval '4 s')"""
NO_BROKERS = r"host:12 could not reach its brokers \S+ s ago: no broker answers"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
ONE_PAYMENT = """UPDATE outbox SET "aggregateId" = 'one'"""


@pytest.fixture
def world(database_url, mock_kafka):
    """Return the settings for the test's database and the mock cluster."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.fixture
def given(engine):
    """Return a function that inserts events and runs SQL statements."""

    def run(*steps):
        with engine.begin() as connection:
            for step in steps:
                if isinstance(step, str):
                    connection.exec_driver_sql(step)
                else:
                    insert_events(connection, **{"count": 1, "payload_bytes": 0, **step})

    return run


DEAD = {"state": "dead", "last_error": "MSG_SIZE_TOO_LARGE: no", "age": MINUTES + SECONDS}
"""A dead event that is older than all other events in this file.

Events from the same millisecond have no fixed order.
"""


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


@pytest.mark.parametrize(
    ("age", "seen", "mark", "waits"),
    [
        (SECONDS, "1 h", "✔", False),
        (HALF_A_MINUTE, "1 h", "!", True),
        (HALF_A_MINUTE, "40 s", "✔", True),
        (MINUTES, "40 s", "!", True),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_errors_counts_the_events_that_wait_without_an_error(
    world, given, invoke, answer, age, seen, mark, waits, failed
):
    """`payctl errors` counts the events that are waiting without an error, and shows the same mark as `stats`.

    With a selector, it counts only the selected events that failed.
    """
    given({"age": age}, SEEN.format(seen), *[{"age": SECONDS, "retry_count": 1, "last_error": "no"}][:failed])
    shown = invoke("errors", **world).stdout
    assert shown[0] == ("!" if failed else mark), shown
    assert ("\n   1 event is waiting without an error:  payctl doctor\n" in shown) is waits
    assert answer("errors", **world)["counts"]["waiting"] == int(waits)
    assert "without an error" not in invoke("errors", "--failed", **world).stdout
    assert "waiting" not in answer("errors", "--failed", **world)["counts"]
    assert failed or invoke("stats", **world).stdout[0] == mark


@pytest.mark.parametrize(("retries", "waiting"), [(0, 1), (1, 0)])
def test_errors_counts_a_locked_event_only_once(world, given, engine, answer, retries, waiting):
    """`payctl errors` counts an event with a row lock either in its group or as waiting, but not in both."""
    given({"age": MINUTES, "retry_count": retries, "last_error": "no" if retries else None})
    with engine.begin() as holder:
        holder.exec_driver_sql("SELECT FROM outbox FOR UPDATE")
        document = answer("errors", **world)
    assert document["counts"] == {"groups": retries, "events": retries, "closed": 0, "waiting": waiting}


@pytest.mark.parametrize("failed", [False, True])
def test_errors_prints_its_groups_if_the_waiting_events_cannot_be_counted(world, given, engine, invoke, answer, failed):
    """If a lock stops `payctl errors` from counting waiting events, it prints the groups and a warning."""
    given({"age": MINUTES}, *[{"age": SECONDS, "retry_count": 1, "last_error": "no"}][:failed])
    with engine.begin() as holder:
        holder.exec_driver_sql("LOCK TABLE payctl.publishers IN ACCESS EXCLUSIVE MODE")
        document = answer("errors", **world)
        shown = invoke("errors", **world)
    assert document["exit_code"] == 6
    assert document["counts"] == {"groups": int(failed), "events": int(failed), "closed": 0}
    (warning,) = document["warnings"]
    assert warning.startswith("the events that are waiting without an error were not counted, because")
    assert (shown.exit_code, shown.stdout[0], "were not counted" in shown.stderr) == (6, "!", True)
    assert answer("errors", "--failed", **world)["exit_code"] == 0


@pytest.mark.parametrize("steps", [[{"age": MINUTES}], [DEAD], [{"age": MINUTES / 4, "retry_count": 8}]])
def test_the_doctor_is_not_ok_if_events_are_dead_or_overdue(world, given, invoke, keys, steps):
    """If events are dead or overdue, the doctor's first line, last line and exit code agree."""
    given(*steps)
    result = invoke("doctor", **{**world, **keys, "OUTBOX_MAX_RETRIES": "20" if "retry" in str(steps) else "5"})
    first, *_, last = result.stdout.splitlines()
    failed = int(re.search(r"(\d+) fail", last)[1])
    assert first.startswith("✘" if failed else "!")
    assert result.exit_code == (5 if failed else 0)


@pytest.fixture
def paste(invoke, answer, world):
    """Return a function that runs the command that ``stats`` or ``doctor`` suggests for the given cause."""

    def run(command, kind, *more):
        if command == "stats":
            causes = answer("stats", **world)["result"]["causes"]
            advised = next(cause["command"] for cause in causes if cause["cause"] == kind)
        else:
            items = answer("doctor", "--only", "backlog", **world)["items"]
            advised = next(item["command"] for item in items if kind in item["fact"])
        program, *words = shlex.split(advised)
        assert program == "payctl"
        return invoke(*words, *more, **world)

    return run


@pytest.mark.parametrize(("command", "kind"), [("stats", "no_publisher"), ("doctor", "no publisher has")])
def test_the_advice_for_a_missing_publisher_publishes_the_backlog(world, given, paste, invoke, command, kind):
    """If no publisher is running, the suggested command publishes the whole backlog."""
    given({"age": MINUTES}, SEEN.format("1 h"))
    assert paste(command, kind).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")
    assert invoke("doctor", "--only", "backlog", **world).exit_code == 0


@pytest.mark.parametrize(("command", "kind"), [("stats", "dead"), ("doctor", "is dead: MSG_SIZE_TOO_LARGE")])
def test_the_advice_for_a_message_that_is_too_large_names_the_limit(
    world, given, paste, invoke, mock_kafka, command, kind
):
    """If a message is too large, `stats` and `doctor` suggest raising the topic's limit.

    After that, the suggested replay works.
    """
    given({"age": MINUTES})
    mock_kafka.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    assert invoke("publish-outbox", **world).exit_code == 6
    shown = invoke("stats", **world).stdout
    assert "MSG_SIZE_TOO_LARGE" in shown
    assert "raise max.message.bytes of payment.completed to" in shown
    assert paste(command, kind, "--yes").exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_the_advice_for_a_blocked_event_replays_the_dead_one(world, given, paste, invoke, command):
    """If a dead event blocks another event, the suggested replay lets a publisher send both events."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS, "event_type": "PAYMENT_FAILED"}, ONE_PAYMENT)
    assert "waits behind dead event" in invoke(command, **world).stdout
    assert paste(command, "dead" if command == "stats" else "is dead", "--yes").exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")


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


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_the_advice_for_a_blocked_success_publishes_it(world, given, paste, invoke, command):
    """If a superseded dead event blocks a success event, the suggested command publishes the success event."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS}, ONE_PAYMENT)
    ran = paste(command, "blocked" if command == "stats" else "waits behind")
    assert (ran.exit_code, "✔  published 1" in ran.stdout) == (0, True)
    assert "1 dead event is left; no paying customer is waiting for it" in ran.stdout
    assert invoke("stats", **world).stdout.startswith("!  1 dead\n")


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_a_superseded_event_that_blocks_nothing_is_harmless(world, engine, given, invoke, answer, command):
    """If a superseded event blocks nothing, `stats` and `doctor` warn and exit with 0.

    The suggested command ends the warning, and keeps the event.
    """
    given({**DEAD, "event_type": "PAYMENT_FAILED"})
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        event, order = connection.exec_driver_sql("SELECT id, payload->>'order_code' FROM outbox").one()
    options = ["--only", "backlog"] if command == "doctor" else ["--check"]
    shown = invoke(command, *options, **world)
    assert (shown.exit_code, "payctl replay" in shown.stdout) == (0, False), shown.stdout
    assert f"1 dead event is harmless: {order} ({event[:8]}) is superseded" in shown.stdout
    assert "dead, superseded: harmless" in shown.stdout or shown.stdout.startswith("!  1 dead event is harmless")
    (found,) = answer("stats", **world)["result"]["causes"]
    (typed,) = [line.strip() for line in shown.stdout.splitlines() if line.strip() == found["command"]]
    assert found["sql"] is None
    closed = invoke(*shlex.split(typed.replace("TEXT", "'they have tickets'"))[1:], "-y", **world)
    assert closed.exit_code == 0, closed.stderr
    assert invoke(command, *options, **world).stdout.startswith("✔")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT id FROM outbox").scalars().all() == [event]


@pytest.mark.parametrize("blocked", ["nothing", "another payment", "its own payment", "both"])
def test_a_blocked_payment_makes_no_dead_event_of_another_payment_harmful(world, engine, invoke, answer, blocked):
    """A superseded dead event is harmful only if an event of its own payment waits behind it.

    `stats`, `doctor`, `errors`, `report` and the metric agree on the number of harmless and of closed events.
    """
    closed, left = (Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error="NO: x") for _ in range(2))
    (name,) = closed.events
    assert invoke("close", name, "--reason", "they have tickets", "-y", **world).exit_code == 0
    success = Orders(engine).pay("COMPLETED").event(retries=5, error="NO: y")
    if blocked in {"another payment", "both"}:
        success.event(age=timedelta())
    if blocked in {"its own payment", "both"}:
        closed.event(age=timedelta())
    harmless, still_closed = (1, 0) if blocked in {"its own payment", "both"} else (2, 1)
    found = answer("stats", **world)["result"]
    assert (found["dead"], found["superseded"], found["closed"]) == (3, harmless, still_closed)
    assert count_harmless_dead(engine, 5) == harmless
    for limit, code in ((2 - harmless, 5), (3 - harmless, 0)):
        checked = invoke("stats", "--check", "--max-age", "1h", "--max-failed", str(limit), **world)
        assert checked.exit_code == code, checked.stdout
    facts = [each["fact"] for each in found["causes"]]
    assert sum("1 dead event is harmless" in each for each in facts) == 1
    assert any(left.events[0][:8] in each for each in facts if "harmless" in each)
    harmful = [each for each in found["causes"] if each["cause"] == "dead"]
    in_the_way = blocked == "its own payment"  # then only the cause of the blocked event names the dead one
    assert sum(each["events"] for each in harmful) + harmless + in_the_way == 3
    shown = invoke("doctor", "--only", "backlog", **world).stdout
    assert [each for each in facts if each not in shown] == []
    groups = answer("errors", **world)["items"]
    report = answer("report", **world)["result"]
    assert (
        sum(each["closed"] for each in groups) == sum(each["closed"] for each in report["dead_groups"]) == still_closed
    )
    assert sum(each["blocking"] for each in groups) == 2 - harmless


def test_a_harmless_dead_event_does_not_hide_that_no_publisher_is_active(world, engine, given, invoke):
    """Even with a harmless dead event, `stats` first says that no publisher is active and how to publish."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"})
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    given({"age": HALF_A_MINUTE}, SEEN.format("1 h"))
    shown = invoke("stats", **world).stdout
    assert "no publisher is active" in shown.splitlines()[0]
    steps = [shown.index(words) for words in ("payctl publish-outbox", "1 dead event is harmless", "payctl close")]
    assert steps == sorted(steps)


@pytest.mark.parametrize("command", ["stats", "doctor --only backlog"])
def test_a_long_command_is_one_line_on_a_terminal(world, engine, given, answer, terminal, tmp_path, command):
    """On a terminal, a suggested command is never folded, so that users can copy it."""
    file = tmp_path / "payctl.toml"
    file.write_text("[profiles.prod.guard]\nprotected = true\n")
    named = ["-p", "prod", "--config", str(file)]
    given({**DEAD, "event_type": "PAYMENT_FAILED", "count": 2})
    with engine.begin() as connection:
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    (found,) = answer("stats", *named, **world)["result"]["causes"]
    assert len(found["command"]) > 80
    with terminal(*command.split(), *named, **world) as it:
        it.finish()
        written = COLOURS.sub("", it.sent.decode())
    assert found["command"] in [line.strip() for line in written.split("\r\n")]


@pytest.mark.parametrize("command", ["stats", "doctor"])
@pytest.mark.parametrize(
    ("guard", "event", "words", "code"),
    [
        ("", {"age": MINUTES}, ["publish-outbox", "-p", "prod"], 0),
        ("protected = true", {"age": MINUTES}, ["--reason", "--confirm", "prod"], 0),
        ("max_affected = 2", {**DEAD, "count": 3, "event_type": "PAYMENT_FAILED"}, ["--max-affected", "3"], 0),
        ("read_only = true", {"age": MINUTES}, ["profile prod is read-only, so use another profile"], 7),
    ],
)
def test_the_advice_of_stats_and_doctor_passes_the_profile_s_guard(
    world, given, invoke, tmp_path, command, guard, event, words, code
):
    """Commands that `stats` and `doctor` suggest pass the profile's guard when they are pasted.

    The commands include the options for the profile, the configuration file and the guard.
    """
    file = tmp_path / "payctl.toml"
    settings = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.prod]\n{settings}\n[profiles.prod.guard]\n{guard}\n")
    given(event)
    only = ["--only", "backlog"] if command == "doctor" else []
    shown = invoke(command, *only, "-p", "prod", "--config", str(file)).stdout
    advice = re.search(r"(?:next|fix):.*\n.*", shown)[0]
    assert all(word in advice for word in words), advice
    _, *typed = shlex.split(advice.splitlines()[1])
    assert invoke(*typed, *(["--yes"] if typed[0] == "replay" else [])).exit_code == code


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
    """A publisher loop that waits for its brokers is the same cause for `stats`, `doctor` and a canary.

    The loop says that the brokers are unavailable, so no screen says that a publisher is working.
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


def test_a_young_event_after_a_publisher_ended_waits_for_the_next_run(world, given, invoke):
    """If the last publisher has ended, `stats` says at once that none is active, and to wait for the next one."""
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
    """`show` says that the last publisher could not reach its brokers, and does not advise to send the event now.

    After a publisher has sent another event, the brokers are available, so `show` advises to send this event.
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
