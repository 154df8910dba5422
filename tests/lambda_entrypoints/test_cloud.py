"""Test the functions with rotated secrets and alerts in AWS's services."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from lambda_entrypoints import cleanup, publish_outbox, watch_payments, webhook
from tests.lambda_entrypoints import events
from tests.lambda_entrypoints.conftest import Context
from tests.providers.conftest import SIGNING_VARIABLES
from ticketbottle_payctl.aws.alerts import MEANINGS
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario, callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

SCHEDULED = events.read("scheduler-publish-outbox.json")
CLOSE = """
    INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, reason)
    SELECT gen_random_uuid(), 0, 0, id, 'closed', 'superseded' FROM outbox WHERE "eventType" = 'PAYMENT_FAILED'
"""


def with_key(payment, name, value):
    """Return the event for a callback that is signed with the given key."""
    return events.http_event(callback(payment, Scenario.PAID, environment() | {name: value}))


@pytest.mark.parametrize("provider", GATEWAYS)
def test_a_rotated_gateway_key_loses_no_callback(called, shop, cloud, database_url, provider):
    """After a key rotation, the webhook accepts callbacks that are signed with the new or the old key."""
    name = SIGNING_VARIABLES[provider]
    environ = {name: "", f"{name}_SECRET_ARN": cloud.secret({name: "the-old-key"}), "DATABASE_URL": database_url}
    first, second, late = (shop.payment(provider) for _ in range(3))
    called(webhook.handler, with_key(first, name, "the-old-key"), **environ)
    cloud.secret({name: "the-new-key", f"{name}_PREVIOUS": "the-old-key"})
    called(webhook.handler, with_key(second, name, "the-new-key"), **environ)
    called(webhook.handler, with_key(late, name, "the-old-key"), **environ)
    assert {shop.status(payment) for payment in (first, second, late)} == {"COMPLETED"}
    assert {"WebhookRejectedSignature"} & called.printed.metrics.keys() == set()
    assert [key for key in ("the-old-key", "the-new-key") if key in called.printed.text] == []


def test_a_forged_callback_is_refused_after_the_key_was_renewed(called, shop, cloud, database_url):
    """The webhook refuses a forged callback, even after it has read the key again."""
    arn = cloud.secret({"ZALOPAY_KEY2": "the-key"})
    environ = {"ZALOPAY_KEY2": "", "ZALOPAY_KEY2_SECRET_ARN": arn, "DATABASE_URL": database_url}
    payment = shop.payment("zalopay")
    for _ in range(3):
        answer = called(webhook.handler, with_key(payment, "ZALOPAY_KEY2", "forged"), **environ)
        assert '"return_code":-1' in answer["body"]
    assert shop.status(payment) == "PENDING"


@pytest.mark.parametrize("name", ["webhook", "publish_outbox", "cleanup", "watch_payments"])
def test_a_rotated_database_password_is_used(called, shop, cloud, database_url, mock_kafka, paid, name):
    """If the database refuses the old password, the function reads the new password and continues."""
    role = f"rotating_{name}"
    shop.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'the-old-password'")
    url = "postgresql://{role}:{password}@{place}".format(
        role=role, password="{password}", place=database_url.partition("@")[2]
    )
    environ = {"DATABASE_URL_SECRET_ARN": cloud.secret(url.format(password="the-old-password")), "DATABASE_URL": ""}
    environ |= {"KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_LOOP_SECONDS": "0"}

    def work():
        if name == "webhook":
            return called(webhook.handler, paid(shop.payment("momo")), **environ)["statusCode"] == 204
        if name == "watch_payments":
            return called(watch_payments.handler, SCHEDULED, **environ)["gateways"] == 0
        handler = publish_outbox.handler if name == "publish_outbox" else cleanup.handler
        return called(handler, SCHEDULED, **environ)["stopped_because"] == "empty"

    assert work()
    shop.execute(f"ALTER ROLE {role} PASSWORD 'the-new-password'")
    shop.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")  # noqa: S608 - a constant
    cloud.secret(url.format(password="the-new-password"))
    assert work()
    assert "-password" not in called.printed.text


@pytest.mark.parametrize(
    ("scenario", "status", "kind"),
    [
        (Scenario.WRONG_AMOUNT, "PENDING", "wrong_amount"),
        (Scenario.PAID, "CANCELLED", "late_money"),
        (Scenario.PAID, "FAILED", "late_money"),
        (Scenario.HELD, "PENDING", "money_held"),
        (Scenario.FAILED, "COMPLETED", "contradicts_completed"),
    ],
)
def test_each_money_problem_is_one_alert(called, shop, cloud, database_url, paid, scenario, status, kind):
    """The webhook sends one alert for each money problem, no matter how often the genuine callback arrives."""
    arn, queue = cloud.topic()
    payment = shop.payment("vnpay", status=status)
    environ = {"DATABASE_URL": database_url, "PAYCTL_ALERTS_TOPIC_ARN": arn}
    called(webhook.handler, paid(payment, Scenario.BAD_SIGNATURE), **environ)
    for _ in range(3):
        called(webhook.handler, paid(payment, scenario), **environ)
    (message,) = cloud.messages(queue)
    assert message["Subject"] == f"[payctl test] {kind}"
    known = (f"order_code: {payment.order_code}", f"payment_id: {payment.id}") if kind != "money_held" else ()
    assert [fact for fact in (MEANINGS[kind], "receipt_id: ", *known) if fact not in message["Message"]] == []
    assert called.printed.metrics["AlertFailed"] == 0


def test_a_genuine_callback_for_an_unknown_order_is_an_alert(called, cloud, database_url):
    """The webhook sends an alert if a genuine callback arrives for an unknown order."""
    arn, queue = cloud.topic()
    called(webhook.handler, events.read("momo.json"), DATABASE_URL=database_url, PAYCTL_ALERTS_TOPIC_ARN=arn)
    (message,) = cloud.messages(queue)
    assert message["Subject"] == "[payctl test] unknown_order"
    assert "correlation_id: JKJaXmPLvHcESHA=" in message["Message"]


def test_an_unavailable_alert_topic_does_not_change_the_reply(called, shop, cloud, database_url, paid):
    """If the alert topic does not exist, the webhook sends the gateway the usual reply and counts the failed alert."""
    environ = {"DATABASE_URL": database_url, "PAYCTL_ALERTS_TOPIC_ARN": f"{cloud.topic()[0]}-not-there"}
    answer = called(webhook.handler, paid(shop.payment("vnpay"), Scenario.WRONG_AMOUNT), **environ)
    assert '"RspCode":"04"' in answer["body"]
    assert called.printed.metrics["AlertFailed"] == 1


def test_newly_dead_events_send_one_pointer_each_and_one_alert(called, engine, cloud, database_url, mock_kafka):
    """The publisher's function sends one pointer per newly dead event, and a single alert about all of them."""
    with engine.begin() as connection:
        insert_events(connection, 23, event_type="PAYMENT_UNHEARD_OF")
        insert_events(connection, 2)
    (arn, alerts), queue = cloud.topic(), cloud.queue()
    environ = {
        "DATABASE_URL": database_url,
        "KAFKA_BROKERS": mock_kafka.bootstrap,
        "PAYCTL_LOOP_SECONDS": "0",
        "PAYCTL_ALERTS_TOPIC_ARN": arn,
        "PAYCTL_DEAD_EVENTS_QUEUE_URL": queue,
    }
    for _ in range(2):
        called(publish_outbox.handler, SCHEDULED, **environ)
    found = cloud.messages(queue)
    assert (len(found), {message["errorClass"] for message in found}) == (23, {"UNKNOWN_EVENT_TYPE"})
    (message,) = cloud.messages(alerts)
    assert message["Subject"] == "[payctl test] event_dead"
    metrics = called.printed.metrics
    assert (metrics["OutboxDead"], metrics["OutboxPublished"], metrics["AlertFailed"]) == (23, 2, 0)


def test_an_unavailable_queue_does_not_fail_the_run(called, engine, cloud, database_url, mock_kafka):
    """If the queue does not exist, the publisher's function still publishes events, and counts the unsent pointers."""
    with engine.begin() as connection:
        insert_events(connection, 3, event_type="PAYMENT_UNHEARD_OF")
        insert_events(connection, 4)
    environ = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, "PAYCTL_LOOP_SECONDS": "0"}
    environ["PAYCTL_DEAD_EVENTS_QUEUE_URL"] = f"{cloud.url}/123456789012/not-there"
    assert called(publish_outbox.handler, SCHEDULED, **environ)["published"] == 4
    assert called.printed.metrics["AlertFailed"] == 3
    assert sum(line["message"] == "event_dead" for line in called.printed.logs) == 3


def test_the_daily_cleanup_sends_an_alert_about_dead_events(called, engine, cloud, database_url):
    """The daily cleanup sends an alert with the count of dead events and the age of the oldest one."""
    with engine.begin() as connection:
        insert_events(connection, 7, state="dead", age=events.days(2))
    arn, queue = cloud.topic()
    called(cleanup.handler, SCHEDULED, DATABASE_URL=database_url, PAYCTL_ALERTS_TOPIC_ARN=arn)
    (message,) = cloud.messages(queue)
    assert ("events: 7" in message["Message"], "oldest_age_s: " in message["Message"]) == (True, True)


@pytest.mark.parametrize("open_ones", [0, 1])
def test_the_daily_cleanup_sends_no_alert_about_closed_events(called, engine, execute, cloud, database_url, open_ones):
    """The daily cleanup's alert leaves closed dead events out of its count and out of the oldest age."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", age=events.days(2), event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        insert_events(connection, open_ones, state="dead", age=timedelta(hours=1))
    execute("UPDATE payments SET status = 'COMPLETED'")
    execute(CLOSE)
    arn, queue = cloud.topic()
    called(cleanup.handler, SCHEDULED, DATABASE_URL=database_url, PAYCTL_ALERTS_TOPIC_ARN=arn)
    sent = [each["Message"] for each in cloud.messages(queue)]
    told = [re.search(r"events: 1\b.*oldest_age_s: 36\d\d\b", text, re.DOTALL) is not None for text in sent]
    assert told == [True] * open_ones, sent


@pytest.mark.kafka
def test_a_rotated_kafka_password_is_used_during_the_run(called, engine, cloud, database_url, kafka):
    """If the broker refuses the old password, the publisher reads the new password during the run and continues."""
    with engine.begin() as connection:
        insert_events(connection, 5)
    right = kafka.environment("scram-sha-512")
    arn = cloud.secret({"username": right["KAFKA_USERNAME"], "password": "the-password-of-yesterday"})
    environ = right | {"KAFKA_USERNAME": "", "KAFKA_PASSWORD": "", "DATABASE_URL": database_url}
    environ |= {"KAFKA_USERNAME_SECRET_ARN": arn, "KAFKA_PASSWORD_SECRET_ARN": arn, "PAYCTL_LOOP_SECONDS": "3"}
    called.warm_up("publish_outbox", "KAFKA_USERNAME", "KAFKA_PASSWORD", **environ)
    cloud.secret({"username": right["KAFKA_USERNAME"], "password": right["KAFKA_PASSWORD"]})
    answer = called(publish_outbox.handler, SCHEDULED, Context(left=60), **environ)
    assert answer["published"] == 5
