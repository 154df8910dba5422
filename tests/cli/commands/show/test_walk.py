"""A person on call: what really happens to an order, and what the first `payctl show ORDER` answers."""

from __future__ import annotations

import shlex
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres


@pytest.fixture
def world(engine, answer, database_url, keys, mock_kafka):
    """Commands with the gateways' keys and a broker, and one MOMO order of 320,000 VND."""
    with engine.begin() as connection:
        order = insert_payment(connection, amount=320_000, provider="MOMO", age=timedelta(hours=1)).order_code

    class World:
        """What happens to the order."""

        broker = mock_kafka
        name = order

        def run(self, *arguments):
            """Run a command."""
            return answer(*arguments, **keys, DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap)

        def gateway(self, scenario, *more):
            """Let the gateway call."""
            return self.run("simulate", "momo", scenario, "--order-code", order, "--to", "process-webhook", *more)

        def show(self):
            """Show the order: its verdict and the commands."""
            document = self.run("show", order[-8:].lower())
            result = document["result"]
            return document["exit_code"], result["verdict"], [each["command"] for each in result["next"]]

    return World()


def test_the_callback_never_came(world):
    """The right command asks the gateway, and no other is printed."""
    code, verdict, commands = world.show()
    assert (code, verdict["kind"]) == (5, "no_callback")
    assert commands == [f"payctl reconcile payments {world.name}"]


def test_a_forged_callback_is_no_callback(world):
    """It leaves no receipt, so the verdict speaks of genuine ones."""
    assert world.gateway("bad-signature")["exit_code"] == 5
    assert "no genuine callback came" in world.show()[1]["text"]


def test_the_amount_is_wrong(world):
    """What was paid and what was asked, and a task for a person: asking the gateway again would end here again."""
    assert world.gateway("wrong-amount")["exit_code"] == 5
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], commands) == (5, "wrong_amount", [])
    assert verdict["text"].startswith(f"NO TICKET: paid {verdict['paid']:,} VND, the order is 320,000 VND; callback ")
    assert verdict["todo"]


def test_the_message_is_too_large(world):
    """One try, the limit to raise, and no replay: it would die again."""
    world.gateway("paid")
    world.broker.fail_next(KafkaError.MSG_SIZE_TOO_LARGE)
    assert world.run("publish-outbox")["counts"]["dead"] == 1
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], verdict["tries"], commands) == (5, "dead", 1, [])
    assert "dead by MSG_SIZE_TOO_LARGE at the first try" in verdict["text"]
    assert verdict["todo"].startswith("raise max.message.bytes of payment.completed")


def test_the_message_is_too_large_for_the_client_itself(world, engine):
    """No setting of the topic helps then, and the sentence does not send anybody to one."""
    world.gateway("paid")
    with engine.begin() as connection:
        sql = """UPDATE outbox SET payload = payload || jsonb_build_object('padding', repeat('x', 1000000))"""
        connection.exec_driver_sql(sql)
    assert world.run("publish-outbox")["counts"]["dead"] == 1
    _, verdict, commands = world.show()
    assert (verdict["kind"], verdict["remedy"], commands) == ("dead", "shrink_payload", [])
    assert "payctl sends at most 1,000,000" in verdict["todo"]


def test_the_success_is_blocked_behind_a_dead_failure(world):
    """The command lets the success pass and leaves the superseded failure dead; then the order is through."""
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


def test_all_is_well(world):
    """Settled by a callback, published, and nothing is open."""
    world.gateway("paid")
    code, verdict, commands = world.show()
    assert (code, verdict["kind"], commands) == (5, "waiting", ["payctl publish-outbox"])
    world.run("publish-outbox")
    code, verdict, _ = world.show()
    assert (code, verdict["kind"], verdict["text"][:9]) == (0, "published", "published")
