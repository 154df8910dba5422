"""Test the command that ``payctl reconcile outbox`` suggests for repairing lost events, with Apache Kafka."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.cli.commands.reconcile.conftest import SENT, differences
from ticketbottle_payctl.cli.commands.reconcile.outbox_result import unchanged
from ticketbottle_payctl.jobs.reconcile.compare_outbox import Difference, Disagreement, OutboxComparison
from ticketbottle_payctl.jobs.replay import plan_replay
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.outbox.sent_events import created_between

pytestmark = pytest.mark.postgres


def advice(page):
    """Return the command that the output suggests, and the last line of the output."""
    lines = page.splitlines()
    after = next(number for number, line in enumerate(lines) if line.startswith("repair:"))
    payctl, *command = shlex.split(lines[after + 1])
    assert payctl == "payctl"
    return command, lines[-1]


@pytest.mark.usefixtures("published")
def test_the_advised_replay_sends_exactly_the_lost_events(
    invoke, answer, world, lose, kafka, read_all, tmp_path, monkeypatch
):
    """The suggested replay sends each lost event once, even if the command is pasted twice.

    The replay leaves out events that another operator has already replayed.
    """
    monkeypatch.chdir(tmp_path)
    lost = lose(3)
    page = invoke("reconcile", "outbox", **world).stdout
    command, verdict = advice(page)
    assert verdict.startswith("✘")
    assert "3 lost" in verdict
    command, _ = advice(invoke(*command, **world).stdout)
    assert answer("replay", lost[0], "--allow-published", "-y", **world)["counts"]["requeued"] == 1
    for requeued in (2, 0, 0):
        assert answer(*command, "--yes", **world)["counts"]["requeued"] == requeued
        answer("publish-outbox", **world)
    sent = Counter(record.text("eventId") for record in read_all(kafka.bootstrap))
    assert (len(sent), set(sent.values())) == (SENT + 3, {1})
    last = invoke("reconcile", "outbox", **world).stdout.splitlines()
    assert (len(last), last[0][0], invoke("reconcile", "outbox", **world).exit_code) == (1, "✔", 0)


@pytest.mark.usefixtures("published")
def test_the_advised_repair_of_lost_events_passes_the_profile_s_guard(
    invoke, answer, world, lose, tmp_path, monkeypatch
):
    """The command that `reconcile outbox` suggests passes the guard of a protected profile with a low limit."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.prod]\n{values}[profiles.prod.guard]\nprotected = true\nmax_affected = 1\n", "utf-8")
    file.chmod(0o600)
    lose(2)
    command, _ = advice(invoke("reconcile", "outbox", "-p", "prod", "--config", str(file)).stdout)
    command, _ = advice(invoke(*command).stdout)
    assert answer(*command, "--yes")["counts"]["requeued"] == 2


@pytest.mark.usefixtures("published")
def test_reconcile_advises_no_replay_with_a_read_only_profile(invoke, answer, world, lose, tmp_path):
    """With a read-only profile, `reconcile outbox` does not suggest a replay, and names the profile as the reason."""
    file = tmp_path / "payctl.toml"
    values = "".join(f'{name} = "{value}"\n' for name, value in world.items())
    file.write_text(f"[profiles.replica]\n{values}guard.read_only = true\n", "utf-8")
    lose()
    profile = ["-p", "replica", "--config", str(file)]
    page = invoke("reconcile", "outbox", *profile)
    assert ("payctl replay" in page.stdout, "profile replica is read-only" in page.stdout) == (False, True)
    assert answer("reconcile", "outbox", *profile)["result"]["repair"] is None


@pytest.mark.usefixtures("published")
def test_a_repair_plan_leaves_out_an_event_that_has_been_replayed_since(lose, engine, answer, world):
    """If an event is replayed after `reconcile outbox` has compared it, the repair plan leaves the event out."""
    ids = lose(2)
    with transaction(engine, Limits(), commit=False) as connection:
        now = datetime.now(UTC)
        compared = list(created_between(connection, now - timedelta(hours=1), now + timedelta(hours=1), 100))
    lost = [Disagreement(each, Difference.LOST, "", 0, repairable=True) for each in compared if each.id in ids]
    answer("replay", ids[0], "--allow-published", "-y", **world)
    answer("publish-outbox", **world)
    plan = plan_replay(engine, Selector(ids=tuple(ids)), max_retries=5, allow_published=True)
    left = unchanged(plan, OutboxComparison(2, (), 0, complete=True, disagreements=lost))
    assert ({event.row.id for event in plan.events}, [event.row.id for event in left.events]) == (set(ids), ids[1:])


@pytest.mark.usefixtures("published")
def test_reconcile_advises_no_replay_of_a_superseded_event(compare, invoke, world, engine, lose, tmp_path):
    """`reconcile outbox` reports a lost superseded event, but does not suggest replaying it.

    Replaying the failure event would release the tickets of a paid order.
    """
    (lost,) = lose(event_type="PAYMENT_FAILED")
    with engine.begin() as connection:
        insert_events(connection, 1, event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.execute(text("UPDATE payments SET status = 'COMPLETED', \"completedAt\" = now()"))
    assert invoke("publish-outbox", **world).exit_code == 6  # the run sent a failure event of a paid order
    document = compare("--repair-out", str(tmp_path / "plan"))
    assert differences(document) == {("lost", lost)}
    assert (document["result"]["repairable"], document["result"]["repair_file"]) == (0, None)
    page = invoke("reconcile", "outbox", **world).stdout
    assert ("repair:" in page, "1 superseded event" in page) == (False, True)


@pytest.mark.parametrize("is_there", [True, False])
def test_reconcile_refuses_an_existing_repair_file_at_once(answer, database_url, tmp_path, is_there):
    """If the repair file already exists, `reconcile outbox` exits with 2 before it reads from Kafka."""
    file = tmp_path / "ids"
    if is_there:
        file.touch()
    world = {"DATABASE_URL": database_url, "KAFKA_BROKERS": "127.0.0.1:1"}
    assert answer("reconcile", "outbox", "--repair-out", str(file), **world)["exit_code"] == (2 if is_there else 4)
