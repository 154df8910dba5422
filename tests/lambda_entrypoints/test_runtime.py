"""Test the functions in AWS's runtime, with a real database and a broker."""

from __future__ import annotations

import base64
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.checker import Verdict, judge, rows_of
from tests.lambda_entrypoints import events
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import wait_until

SCHEDULED = events.read("scheduler-publish-outbox.json")
DAILY = events.read("scheduler-cleanup.json")
BEHIND = """
    INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt")
    SELECT 'behind', "aggregateId", 'payment', 'PAYMENT_COMPLETED', '{}', clock_timestamp() AT TIME ZONE 'UTC'
    FROM outbox
    WHERE "eventType" = 'PAYMENT_FAILED'
"""
ONE_PASS = {"PAYCTL_LOOP_SECONDS": "0"}


@pytest.fixture
def in_background():
    """Yield a function that makes a call in a thread and returns the call's future."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


@pytest.fixture
def in_mid_batch(shop):
    """Return a function that waits until a publisher has claimed rows in an open transaction."""
    sql = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    return lambda: wait_until(lambda: shop.query(sql), what="a batch is claimed and being sent", timeout=20)


def pending(engine, count, **values):
    """Insert ``count`` pending events, each for a separate payment."""
    with engine.begin() as connection:
        insert_events(connection, count, **values)


@pytest.mark.parametrize("name", [*GATEWAYS, "payos-base64"])
def test_an_event_of_each_gateway_settles_its_payment(lambda_, shop, database_url, name):
    """In one execution environment, the first invocation settles a payment, and the second finds a duplicate."""
    shop.known()
    webhook = lambda_("webhook", timeout=10, DATABASE_URL=database_url)
    cold, warm = (webhook.invoke(events.read(f"{name}.json")) for _ in range(2))
    assert cold.payload["statusCode"] in {200, 204}
    assert warm.payload["statusCode"] == cold.payload["statusCode"]
    assert shop.status(events.PAYMENTS[name.partition("-")[0]]) == "COMPLETED"
    assert shop.pending() == 1
    sums = webhook.sums()
    assert (sums["ColdStart"], sums["WebhookReceived"]) == (1, 2)
    assert (sums["WebhookAccepted"], sums["WebhookDuplicate"]) == (1, 1)
    assert webhook.sums("provider")["WebhookReceived"] == 2


def test_the_processor_publishes_and_emits_the_outbox_gauges(lambda_, engine, database_url, mock_kafka, read_all):
    """The publisher's function publishes events and emits every outbox gauge, even gauges with the value zero."""
    pending(engine, 300)
    processor = lambda_(
        "publish_outbox", DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap, PAYCTL_LOOP_SECONDS="1"
    )
    assert processor.invoke(SCHEDULED).payload == {"stopped_because": "deadline", "published": 300}
    sums = processor.sums()
    assert (sums["OutboxPublished"], sums["OutboxPending"], sums["OutboxDeadTotal"]) == (300, 0, 0)
    assert {"OutboxOldestPendingAge", "PublishLatency", "OutboxFailed", "OutboxBatches"} <= sums.keys()
    assert processor.invoke(SCHEDULED).payload == {"stopped_because": "deadline", "published": 0}
    assert judge(rows_of(engine), read_all(mock_kafka.bootstrap)) == Verdict()


@pytest.mark.parametrize(
    ("status", "waiting", "gauges"),
    [
        ("COMPLETED", False, (2, 1, 1)),
        ("COMPLETED", True, (2, 2, 0)),
        ("FAILED", False, (2, 2, 0)),
    ],
    ids=["superseded", "superseded, but an event waits behind it", "not superseded"],
)
def test_the_processor_counts_harmless_dead_events_separately(
    lambda_, engine, database_url, mock_kafka, status, waiting, gauges
):
    """The gauge for harmful dead events leaves out a dead failure event if the customer paid later."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql(f"UPDATE payments SET status = '{status}'")  # noqa: S608
        if waiting:
            connection.exec_driver_sql(BEHIND)
    processor = lambda_("publish_outbox", DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap, **ONE_PASS)
    processor.invoke(SCHEDULED)
    sums = processor.sums()
    assert tuple(sums[f"OutboxDead{name}"] for name in ("Total", "Harmful", "Superseded")) == gauges


def test_the_cleanup_function_deletes_old_events_and_counts_dead_ones(lambda_, engine, database_url):
    """The cleanup function deletes events that are older than the retention, and counts dead events."""
    with engine.begin() as connection:
        for state, count, age in (("published", 50, 30), ("published", 5, 0), ("dead", 3, 30)):
            insert_events(connection, count, state=state, age=events.days(age))
    cleaner = lambda_("cleanup", timeout=60, DATABASE_URL=database_url)
    assert cleaner.invoke(DAILY).payload == {"stopped_because": "empty", "deleted": 50, "dead": 3}
    sums = cleaner.sums()
    assert (sums["CleanupDeleted"], sums["CleanupRemaining"], sums["OutboxDeadTotal"]) == (50, 0, 3)
    assert [line["events"] for line in cleaner.lines(message="outbox_dead_events")] == [3]


def test_the_processor_ends_before_lambda_s_deadline(lambda_, engine, database_url, mock_kafka):
    """The publisher's function ends before Lambda's deadline, even if PAYCTL_LOOP_SECONDS would allow more time."""
    pending(engine, 10)
    processor = lambda_("publish_outbox", timeout=22, DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap)
    answer = processor.invoke(SCHEDULED)
    assert answer.payload == {"stopped_because": "deadline", "published": 10}
    assert answer.seconds < 15


@pytest.mark.parametrize(("how", "timeout", "words"), [("deadline", 5, "timed out"), ("killed", 60, "exit")])
def test_a_processor_that_is_killed_during_a_batch_loses_no_event(
    lambda_, engine, database_url, mock_kafka, read_all, in_background, in_mid_batch, how, timeout, words
):
    """If the publisher's function is killed or times out, the next run sends the claimed events."""
    pending(engine, 3000)
    mock_kafka.set_rtt(30)
    settings = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **ONE_PASS}
    processor = lambda_("publish_outbox", timeout=timeout, OUTBOX_BATCH_SIZE="50", **settings)
    ended = in_background(processor.invoke, SCHEDULED)
    in_mid_batch()
    processor.signal(signal.SIGSTOP if how == "deadline" else signal.SIGKILL)
    assert words in str(ended.result(30).payload).lower()
    mock_kafka.set_rtt(0)
    wait_until(lambda: not busy(engine), what="the server has noticed", timeout=20)
    left = sum(row.state == "pending" for row in rows_of(engine))
    assert left > 0
    processor = lambda_("publish_outbox", **settings)
    assert processor.invoke(SCHEDULED).payload == {"stopped_because": "empty", "published": left}
    verdict = judge(rows_of(engine), read_all(mock_kafka.bootstrap))
    assert (verdict.lost, verdict.phantom, verdict.altered, verdict.overtaken) == ([], [], [], [])
    assert sum(verdict.duplicates.values()) <= 50  # one batch can be sent twice


def test_unavailable_brokers_are_raised_after_the_metrics(lambda_, engine, database_url, mock_kafka):
    """If no broker is available, the publisher's function emits its metrics and raises an error.

    Events do not use up retries.
    """
    pending(engine, 20)
    mock_kafka.down()
    settings = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **ONE_PASS}
    processor = lambda_("publish_outbox", timeout=22, **settings)
    error = processor.invoke(SCHEDULED).payload
    assert (error["errorType"], "stackTrace" in error) == ("BrokerUnavailableError", True)
    assert (processor.sums()["OutboxPending"], processor.sums()["OutboxPublished"]) == (20, 0)
    assert {row.retry_count for row in rows_of(engine)} == {0}
    mock_kafka.up()
    assert processor.invoke(SCHEDULED).payload == {"stopped_because": "empty", "published": 20}


def test_events_published_before_a_database_outage_are_counted(lambda_, own_server, mock_kafka, in_background):
    """If the database fails during a run, the publisher's function raises an error, but counts the published events."""
    server, shop = own_server
    pending(shop.engine, 3000)
    mock_kafka.set_rtt(20)
    settings = {"DATABASE_URL": server.url(), "KAFKA_BROKERS": mock_kafka.bootstrap, **ONE_PASS}
    processor = lambda_("publish_outbox", timeout=60, OUTBOX_BATCH_SIZE="20", **settings)
    ended = in_background(processor.invoke, SCHEDULED)
    done = "SELECT count(*) AS n FROM outbox WHERE published"
    wait_until(lambda: shop.query(done)[0]["n"] >= 100, what="some are published", timeout=20)
    server.stop("immediate")
    error = ended.result(40).payload
    server.restart()
    shop.engine.dispose()
    assert error["errorType"] == "DatabaseUnavailableError"
    assert 100 <= processor.sums()["OutboxPublished"] == shop.query(done)[0]["n"] < 3000
    (line,) = processor.lines(message="publish_outbox_ended")
    assert (line["stopped_because"], line["counts"]["published"]) == (
        "database_unavailable",
        processor.sums()["OutboxPublished"],
    )


@pytest.mark.parametrize("name", ["publish_outbox", "cleanup"])
def test_a_scheduled_function_without_its_database_raises(lambda_, name):
    """If the database is unavailable, a scheduled function raises an error that does not contain the password."""
    url = "postgresql://somebody:a-password-of-mine@127.0.0.1:1/payments"
    function = lambda_(name, timeout=22, DATABASE_URL=url, KAFKA_BROKERS="127.0.0.1:1", **ONE_PASS)
    error = function.invoke(SCHEDULED).payload
    assert error["errorType"] == "DatabaseUnavailableError"
    assert "a-password-of-mine" not in function.text() + str(error)


def test_a_webhook_without_its_database_asks_the_gateway_to_call_again(lambda_, own_server, paid):
    """If the database is unavailable, the webhook asks the gateway to call again, and can settle the next callback."""
    server, shop = own_server
    payment = shop.payment("zalopay")
    webhook = lambda_("webhook", timeout=10, DATABASE_URL=server.url())
    server.stop()
    answer = webhook.invoke(paid(payment))
    assert (answer.payload["statusCode"], '"return_code":0' in answer.payload["body"]) == (200, True)
    assert webhook.sums()["WebhookTransientError"] == 1
    server.restart()
    assert '"return_code":1' in webhook.invoke(paid(payment)).payload["body"]
    wait_until(lambda: shop.status(payment) == "COMPLETED", what="the payment is settled", timeout=5)


def test_a_frozen_webhook_replaces_its_cut_connections(lambda_, shop, database_url, paid):
    """If the server ends a frozen webhook's database sessions, the webhook still settles the next callback."""
    webhook = lambda_("webhook", timeout=10, DATABASE_URL=database_url)
    before, after = shop.payment("momo"), shop.payment("momo")
    webhook.invoke(paid(before))
    webhook.signal(signal.SIGSTOP)
    cut = """
        SELECT pg_terminate_backend(pid, 5000) AS cut FROM pg_stat_activity
        WHERE starts_with(application_name, 'payctl') AND datname = current_database() AND pid <> pg_backend_pid()
    """
    assert shop.query(cut) == [{"cut": True}]
    webhook.signal(signal.SIGCONT)
    answer = webhook.invoke(paid(after))
    assert (answer.payload["statusCode"], shop.status(after)) == (204, "COMPLETED")
    assert answer.seconds < 5
    assert webhook.sums().keys().isdisjoint({"WebhookTransientError"})


def test_a_frozen_processor_publishes_at_once_after_a_broker_restart(lambda_, engine, database_url, mock_kafka):
    """If the broker restarts while the publisher's function is frozen, the next run publishes at once."""
    settings = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **ONE_PASS}
    processor = lambda_("publish_outbox", **settings)
    pending(engine, 5)
    processor.invoke(SCHEDULED)
    processor.signal(signal.SIGSTOP)
    mock_kafka.down()
    mock_kafka.up()
    pending(engine, 5)
    processor.signal(signal.SIGCONT)
    answer = processor.invoke(SCHEDULED)
    assert answer.payload == {"stopped_because": "empty", "published": 5}
    assert answer.seconds < 12


def test_a_webhook_s_span_is_sent_before_the_reply(lambda_, shop, database_url, paid):
    """The webhook sends its span before the reply, and the event's traceparent refers to this span."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        settings = {"PAYCTL_TRACES": "xray-udp", "AWS_XRAY_DAEMON_ADDRESS": address}
        webhook = lambda_("webhook", timeout=10, DATABASE_URL=database_url, **settings)
        webhook.invoke(paid(shop.payment("zalopay")))
        daemon.settimeout(5)
        data = daemon.recv(70_000).partition(b"\n")[2]
    (row,) = shop.query("SELECT traceparent FROM payctl.event_context")
    _, trace_id, span_id, flags = row["traceparent"].split("-")
    assert (data[:3], int(flags, 16) & 1) == (b"T1S", 1)
    sent = base64.b64decode(data[3:])
    assert bytes.fromhex(trace_id) in sent
    assert bytes.fromhex(span_id) in sent
    assert b"webhook zalopay" in sent


def test_a_body_of_6_mb_is_refused_without_the_database(lambda_):
    """The webhook answers a body of 6 MB with status 413, even without a database."""
    event = events.read("zalopay.json") | {"body": "x" * 6_000_000}
    answer = lambda_("webhook", timeout=10).invoke(event)
    assert (answer.payload["statusCode"], answer.size < 300) == (413, True)


def test_the_processor_s_return_value_stays_small(lambda_, engine, database_url, mock_kafka):
    """The return value of the publisher's function stays small, even if thousands of events died."""
    pending(engine, 3000, event_type="PAYMENT_UNHEARD_OF")
    settings = {"DATABASE_URL": database_url, "KAFKA_BROKERS": mock_kafka.bootstrap, **ONE_PASS}
    processor = lambda_("publish_outbox", **settings)
    answer = processor.invoke(SCHEDULED)
    assert (answer.payload, answer.size < 200) == ({"stopped_because": "empty", "published": 0}, True)
    assert (processor.sums()["OutboxDead"], processor.sums()["OutboxDeadTotal"]) == (3000, 3000)
    assert len(processor.lines(message="event_dead")) <= 3000


def busy(engine):
    """Return whether a publisher has claimed rows in an open transaction."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql).first() is not None


def test_the_watch_function_emits_three_measures_for_each_gateway(lambda_, shop, database_url):
    """The watch function emits three metrics for each gateway that has recent payments."""
    for _ in range(6):
        payment = shop.payment("momo")
        age = "UPDATE payments SET \"createdAt\" = \"createdAt\" - interval '45 minutes' WHERE id = '{}'"
        shop.execute(age.format(payment.id))
    watch = lambda_("watch_payments", timeout=30, DATABASE_URL=database_url)
    assert watch.invoke(SCHEDULED).payload == {"gateways": 1, "overdue": 6}
    sums = watch.sums("provider")
    assert (sums["PaymentsOverdue"], sums["PaymentsUnsettled"]) == (6, 100.0)
    assert sums["CallbackSilence"] > 2600
    assert {line["provider"] for line in watch.lines() if "PaymentsOverdue" in line} == {"momo"}
