"""Test that a person can paste the commands that ``stats`` and ``doctor`` suggest, and that these send the events."""

from __future__ import annotations

import re
import shlex

import pytest
from confluent_kafka import KafkaError

from tests.cli.commands.why_events_wait.conftest import DEAD, MINUTES, ONE_PAYMENT, SECONDS, SEEN
from ticketbottle_payctl.sandbox.payment_service import insert_payments_of_events

pytestmark = pytest.mark.postgres


COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


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
    """If a dead event blocks another event, a publisher can send both events after the suggested replay."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS, "event_type": "PAYMENT_FAILED"}, ONE_PAYMENT)
    assert "waits behind dead event" in invoke(command, **world).stdout
    assert paste(command, "dead" if command == "stats" else "is dead", "--yes").exit_code == 0
    assert invoke("publish-outbox", **world).exit_code == 0
    assert invoke("stats", **world).stdout.startswith("✔  nothing is pending")


@pytest.mark.parametrize("command", ["stats", "doctor"])
def test_the_advice_for_a_blocked_success_publishes_it(world, given, paste, invoke, command):
    """If a superseded dead event blocks a success event, the suggested command publishes the success event."""
    given({**DEAD, "event_type": "PAYMENT_FAILED"}, {"age": SECONDS}, ONE_PAYMENT)
    ran = paste(command, "blocked" if command == "stats" else "waits behind")
    assert (ran.exit_code, "✔  published 1" in ran.stdout) == (0, True)
    assert "1 dead event is left; no paying customer is waiting for it" in ran.stdout
    assert invoke("stats", **world).stdout.startswith("!  1 dead\n")


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
