"""The first command of a person on call: ``stats`` or ``doctor`` names the cause, and what it advises works."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.sandbox.server import wait_until

pytestmark = pytest.mark.postgres

MINUTES = timedelta(minutes=10)
SECONDS = timedelta(seconds=5)
SEEN = "INSERT INTO payctl.publishers VALUES (1000, 'host:12:x', clock_timestamp() - interval '{}')"
ONE_PAYMENT = """UPDATE outbox SET "aggregateId" = 'one'"""


@pytest.fixture
def world(database_url, mock_kafka):
    """The settings of a database and a broker."""
    return {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap}


@pytest.fixture
def given(engine):
    """``given({"state": "dead"}, "UPDATE ...")``: an event for each dictionary, and these statements."""

    def run(*steps):
        with engine.begin() as connection:
            for step in steps:
                if isinstance(step, str):
                    connection.exec_driver_sql(step)
                else:
                    insert_events(connection, **{"count": 1, "payload_bytes": 0, **step})

    return run


DEAD = {"state": "dead", "last_error": "MSG_SIZE_TOO_LARGE: no", "age": MINUTES}


@pytest.mark.parametrize(
    ("steps", "first_line", "causes", "check"),
    [
        ([], "✔  nothing is pending", [], 0),
        ([{"state": "published"}], "✔  nothing is pending", [], 0),
        ([{"state": "sent_unmarked"}], "✔  nothing is pending", [], 0),
        ([{"age": SECONDS}], r"✔  oldest pending event: \d.\d+ s", [], 0),
        ([{"age": SECONDS}, SEEN.format("1 h")], r"✔  oldest pending event: \d.\d+ s", [], 0),
        ([DEAD], "!  1 dead", ["dead"], 5),
        ([DEAD, {"state": "published"}], "!  1 dead", ["dead"], 5),
        ([DEAD, {"age": SECONDS}], r"!  oldest pending event: \d.\d+ s  1 dead", ["dead"], 5),
        ([DEAD, {"age": SECONDS}, ONE_PAYMENT], r"!  oldest pending event: \d.\d+ s  1 dead  1 blocked",
         ["dead", "blocked"], 5),
        ([{"age": MINUTES}], r"!  oldest pending event: 10 min( \d s)?", ["no_publisher"], 5),
        ([{"age": MINUTES}, SEEN.format("1 h")], r"!  oldest pending event: 10 min( \d s)?", ["no_publisher"], 5),
        ([{"age": MINUTES}, SEEN.format("9 s")], r"!  oldest pending event: 10 min( \d s)?", ["unknown"], 5),
        ([{"age": MINUTES / 4}], r"!  oldest pending event: 2 min 3\d s", ["no_publisher"], 0),
        ([DEAD, {"age": MINUTES}, ONE_PAYMENT, {"age": MINUTES}], "!  oldest pending event: .*  1 dead  1 blocked",
         ["no_publisher", "dead", "blocked"], 5),
        ([{"age": MINUTES / 4, "retry_count": 8}], r"!  oldest pending event: 2 min 3\d s", ["not_due"], 0),
    ],
)  # fmt: skip
def test_headline_mark_and_exit_code_of_stats_agree(world, given, invoke, answer, steps, first_line, causes, check):
    """A green tick only if nothing is dead, blocked or overdue. A cross only with the exit code 5 of --check."""
    given(*steps)
    environment = {**world, "OUTBOX_MAX_RETRIES": "20" if "retry_count" in str(steps) else "5"}
    shown = invoke("stats", **environment)
    assert (shown.exit_code, bool(re.fullmatch(first_line, shown.stdout.splitlines()[0]))) == (0, True), shown.stdout
    assert [cause["cause"] for cause in answer("stats", **environment)["result"]["causes"]] == causes
    checked = invoke("stats", "--check", **environment)
    verdict, *rest = checked.stdout.splitlines()
    expected = "✘" if check else "✔ within the limits" if causes else "✔ healthy"
    assert (checked.exit_code, verdict.startswith(expected)) == (check, True), verdict
    assert not any(line.startswith(("✔", "✘", "!")) for line in rest)


@pytest.mark.parametrize(
    ("limits", "code", "verdict"),
    [
        (["--max-failed", "1"], 0, "✔ within the limits"),
        (["--max-failed", "0"], 5, "✘  1 dead event, more than 0"),
    ],
)
def test_a_check_that_allows_dead_events_does_not_call_them_healthy(world, given, invoke, limits, code, verdict):
    """The verdict speaks of the limits, and the dead events stand below it."""
    given(DEAD)
    result = invoke("stats", "--check", *limits, **world)
    assert (result.exit_code, result.stdout.splitlines()[:2]) == (code, [verdict, "1 dead"])


def test_a_wait_that_ends_over_dead_events_is_not_green(world, given, invoke):
    """The condition holds, so the exit code is 0. What is left stands below."""
    given(DEAD)
    result = invoke("stats", "--wait", "pending=0", **world)
    assert (result.exit_code, result.stdout.splitlines()[:2]) == (
        0,
        ["!  pending=0  is reached; see what is left:", "1 dead"],
    )


@pytest.mark.parametrize("steps", [[{"age": MINUTES}], [DEAD], [{"age": MINUTES / 4, "retry_count": 8}]])
def test_the_doctor_is_never_all_green_over_such_events(world, given, invoke, keys, steps):
    """Its first line, its last line and its exit code agree."""
    given(*steps)
    result = invoke("doctor", **{**world, **keys, "OUTBOX_MAX_RETRIES": "20" if "retry" in str(steps) else "5"})
    first, *_, last = result.stdout.splitlines()
    failed = int(last.split()[4])
    assert first.startswith("✘" if failed else "!")
    assert result.exit_code == (5 if failed else 0)


@pytest.fixture
def paste(invoke, answer, world):
    """``paste("stats", "no_publisher")``: run the command, and then what it advises for this cause; the answer."""

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
def test_no_publisher_runs(world, given, paste, invoke, command, kind):
    """The advised command publishes what waits, and then nothing waits any more."""
    given({"age": MINUTES}, SEEN.format("1 h"))
    assert paste(command, kind).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")
    assert invoke("doctor", "--only", "backlog", **world).exit_code == 0


@pytest.mark.parametrize(("command", "kind"), [("stats", "dead"), ("doctor", "is dead: MSG_SIZE_TOO_LARGE")])
def test_an_event_is_dead_by_a_message_too_large(world, given, paste, invoke, mock_kafka, command, kind):
    """The advice names the limit to raise. Once it is raised, the advised replay and a publisher send the event."""
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
def test_an_event_is_blocked_behind_a_dead_one(world, given, paste, invoke, command):
    """The advised replay of the dead one sends both, in order."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS, "event_type": "PAYMENT_FAILED"}, ONE_PAYMENT)
    assert "waits behind dead event" in invoke(command, **world).stdout
    assert paste(command, "dead" if command == "stats" else "is dead", "--yes").exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_a_success_is_blocked_behind_a_superseded_failure(world, given, paste, invoke, command):
    """The dead failure is not to be sent: the advised command lets the success pass it."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS}, ONE_PAYMENT)
    assert paste(command, "blocked" if command == "stats" else "waits behind").exit_code == 0
    assert invoke("stats", **world).stdout.startswith("!  1 dead\n")


@pytest.mark.parametrize("command", ["stats", "doctor"])
@pytest.mark.parametrize(
    ("guard", "event", "words", "code"),
    [
        ("", {"age": MINUTES}, ["publish-outbox", "-p", "prod"], 0),
        ("protected = true", {"age": MINUTES}, ["--reason", "--confirm", "prod"], 0),
        ("max_affected = 2", {**DEAD, "count": 3}, ["--max-affected", "3"], 0),
        ("read_only = true", {"age": MINUTES}, ["profile prod is read-only, so use another profile"], 7),
    ],
)
def test_advice_passes_the_guard_of_the_profile(world, given, invoke, tmp_path, command, guard, event, words, code):
    """The command names the profile and its file, and gives what the guard asks for. Pasted, it does its work."""
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


def test_a_publisher_that_waits_for_the_brokers_is_not_called_gone(world, given, started, engine, answer):
    """It holds no lock and enters no shard, but its session shows its name, and that it was used a moment ago."""
    given({"age": MINUTES})
    away = {**world, "KAFKA_BROKERS": "127.0.0.1:1"}
    started("publish-outbox", "--loop", **away)

    def is_there():
        sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'payctl publish-outbox'"
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar_one_or_none()

    wait_until(is_there, what="the publisher's session is there", timeout=20)
    found = answer("stats", **away)["result"]["causes"]
    assert [cause["cause"] for cause in found] == ["unknown"]
    (finding,) = answer("doctor", "--only", "backlog", **away)["items"]
    assert "127.0.0.1:1 is not available" in finding["fact"]
