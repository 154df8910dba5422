"""Test that ``payctl show ORDER`` leads an operator from each problem to the command that solves it."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres


@pytest.fixture
def world(engine, answer, database_url, keys, mock_kafka):
    """Return an object that acts as the gateway and the operator for one MoMo order of 320,000 VND."""
    with engine.begin() as connection:
        order = insert_payment(connection, amount=320_000, provider="MOMO", age=timedelta(hours=1)).order_code

    class World:
        """The actions that the gateway and the operator can take for one order."""

        broker = mock_kafka
        name = order

        def run(self, *arguments):
            """Run a command and return its JSON document."""
            return answer(*arguments, **keys, DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap)

        def gateway(self, scenario, *more):
            """Send a callback for the order, as the gateway would."""
            return self.run("simulate", "momo", scenario, "--order-code", order, "--to", "process-webhook", *more)

        def show(self):
            """Run `payctl show` for the order. Return the exit code, the verdict and the suggested commands."""
            document = self.run("show", order[-8:].lower())
            result = document["result"]
            return document["exit_code"], result["verdict"], [each["command"] for each in result["next"]]

    return World()


def test_show_advises_reconcile_if_no_callback_arrived(world):
    """If no callback arrived, `payctl show` suggests only the command that queries the gateway."""
    code, verdict, commands = world.show()
    assert (code, verdict["kind"]) == (5, "no_callback")
    assert commands == [f"payctl reconcile payments {world.name}"]


def test_show_does_not_count_a_forged_callback(world):
    """A forged callback does not leave a receipt, so `payctl show` says that no genuine callback has arrived."""
    assert world.gateway("bad-signature")["exit_code"] == 5
    assert "no genuine callback arrived" in world.show()[1]["text"]


def test_show_advises_no_command_after_a_wrong_amount(world):
    """After a callback with a wrong amount, `payctl show` prints both amounts and a task, but no command."""
    assert world.gateway("wrong-amount")["exit_code"] == 5
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], commands) == (5, "wrong_amount", [])
    said = f"NO TICKET: paid {verdict['paid']:,} VND, but the order is for 320,000 VND; callback "
    assert verdict["text"].startswith(said)
    assert verdict["todo"]


def test_show_names_the_topic_limit_of_a_message_that_is_too_large(world):
    """If a message is too large, `payctl show` names the topic's limit and does not suggest a replay."""
    world.gateway("paid")
    world.broker.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    assert world.run("publish-outbox")["counts"]["dead"] == 1
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], verdict["tries"], commands) == (5, "dead", 1, [])
    assert "dead because of MSG_SIZE_TOO_LARGE on the first try" in verdict["text"]
    assert verdict["todo"].startswith("raise max.message.bytes of payment.completed")


def test_show_says_that_a_message_is_over_payctl_s_own_limit(world, engine):
    """If a message is over payctl's own limit, `payctl show` tells the operator to make the payload smaller."""
    world.gateway("paid")
    with engine.begin() as connection:
        sql = """UPDATE outbox SET payload = payload || jsonb_build_object('padding', repeat('x', 1000000))"""
        connection.exec_driver_sql(sql)
    assert world.run("publish-outbox")["counts"]["dead"] == 1
    _, verdict, commands = world.show()
    assert (verdict["kind"], verdict["remedy"], commands) == ("dead", "shrink_payload", [])
    assert "payctl sends at most 1,000,000" in verdict["todo"]


def test_show_advises_a_command_that_publishes_a_blocked_success(world):
    """If a success event is blocked, `payctl show` suggests a command that publishes it."""
    world.gateway("failed")
    world.broker.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    world.run("publish-outbox")
    world.gateway("paid")
    world.run("publish-outbox")
    code, verdict, commands = world.show()
    assert (code, verdict["kind"]) == (5, "blocked")
    assert (
        verdict["text"]
        == f"NO TICKET: blocked by dead event {verdict['blocked_by']} (PAYMENT_FAILED) of the same payment"
    )
    (release,) = commands
    assert world.run(*shlex.split(release)[1:])["counts"]["published"] == 1
    code, verdict, _ = world.show()
    assert (code, verdict["kind"]) == (5, "late_money")


@pytest.fixture
def overdue(world, engine):
    """Settle the order's payment, and make its event an hour old. Return the object from ``world``."""
    world.gateway("paid")
    with engine.begin() as connection:
        connection.exec_driver_sql("""UPDATE outbox SET "createdAt" = "createdAt" - interval '1 hour'""")
    return world


@pytest.mark.parametrize(
    ("seen", "fact"),
    [
        (None, "no publisher has ever run on this database"),
        ("12 min", r"no publisher has been seen for 12 min( \d+ s)?; the last one was host:12"),
    ],
)
def test_no_publisher_is_running(overdue, engine, seen, fact):
    """If no publisher is running, `payctl show` says for how long, and suggests a command that publishes the event."""
    if seen:
        with engine.begin() as connection:
            age = f"clock_timestamp() - interval '{seen}'"
            connection.exec_driver_sql(f"INSERT INTO payctl.publishers VALUES (1000, 'host:12:x', {age})")  # noqa: S608
    code, verdict, commands = overdue.show()
    assert (code, verdict["kind"], commands) == (5, "overdue", ["payctl publish-outbox"])
    assert re.search(f"{fact}$", verdict["text"])
    assert overdue.run(*shlex.split(commands[0])[1:])["counts"]["published"] == 1
    assert overdue.show()[0] == 0


def test_a_publisher_runs_and_does_not_send(overdue, engine):
    """If a publisher is running but does not send the event, `payctl show` suggests `payctl doctor`."""
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO payctl.publishers VALUES (1000, 'host:12:x', clock_timestamp())")
    code, verdict, commands = overdue.show()
    assert (code, commands) == (5, ["payctl doctor"])
    assert verdict["text"].endswith("and no publisher has sent it")


def test_two_publishers_exclude_each_other(overdue, engine):
    """If publishers run with different values of PAYCTL_SHARDS, `payctl show` suggests a task instead of a command."""
    with engine.begin() as connection:
        rows = "(1000, 'host:12:x', clock_timestamp()), (4000, 'host:99:y', clock_timestamp())"
        connection.exec_driver_sql(f"INSERT INTO payctl.publishers VALUES {rows}")  # noqa: S608 - a constant
    _, verdict, commands = overdue.show()
    assert ("PAYCTL_SHARDS" in verdict["text"], commands) == (True, [])
    assert verdict["todo"].startswith("give every publisher the same PAYCTL_SHARDS")


def test_show_of_a_published_order_exits_with_0(world):
    """After the event of a paid order is published, `payctl show` exits with 0."""
    world.gateway("paid")
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], commands) == (5, "waiting", ["payctl publish-outbox"])
    world.run("publish-outbox")
    code, verdict, _ = world.show()
    assert (code, verdict["kind"], verdict["text"][:9]) == (0, "published", "published")
