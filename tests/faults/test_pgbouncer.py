"""Test payctl through PgBouncer in transaction mode, where clients share server connections."""

from __future__ import annotations

from datetime import timedelta
from threading import Event

import psycopg2
import pytest

from tests.checker import Verdict
from tests.conftest import engine_of
from tests.faults.business import Business
from tests.faults.shop import Command, Shop
from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.outbox import shard_lock

SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "enable_seqscan")
ANSWER = ("-y", "--reason", "a test")
COMMANDS = (
    ("db", "status"),
    ("stats",),
    ("list", "outbox", "--all"),
    ("errors",),
    ("replay", "--failed", *ANSWER),
    ("runs", "list"),
    ("cleanup", *ANSWER),
    ("db", "upgrade"),
)


def of_a_new_client(url):
    """Return the settings of a connection that other clients have already used."""
    client = psycopg2.connect(url)
    client.autocommit = True
    with client.cursor() as cursor:
        found = []
        for name in SETTINGS:
            cursor.execute(f"SHOW {name}")
            found.append(cursor.fetchone()[0])
    client.close()
    return found


@pytest.mark.parametrize("size", [4, 1])
def test_callbacks_and_publishers_share_few_connections(shop, pooler, mock_kafka, size):
    """Even if two publishers and six customers share a few connections, each event is sent once and in order.

    A single connection is enough. Afterwards, no connection keeps a transaction's settings or locks.
    """
    url = pooler(size).url
    business = Business(engine_of(url), mock_kafka.bootstrap)
    with business.running(customers=6, publishers=2):
        business.wait_for(60)
    assert business.verdict() == Verdict()
    assert business.failures == business.waits == []
    business.engine.dispose()
    assert of_a_new_client(url) == ["0", "0", "0", "on"]
    assert shop.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [0]


def test_a_second_publisher_of_a_shard_is_kept_out(shop, pooler, mock_kafka):
    """A publisher's advisory locks work through PgBouncer, because each lock belongs to a transaction."""
    engine = engine_of(pooler(4).url)
    with shop.engine.begin() as connection:
        insert_events(connection, 2)
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    with engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "somebody")
        assert publish_outbox(engine, producer, PublishOptions(), stop=Event()).stopped_because == "locked"
        other.rollback()
    assert publish_outbox(engine, producer, PublishOptions(), stop=Event()).counts.published == 2
    producer.close()
    engine.dispose()


def test_the_commands_work_through_the_pooler(shop, pooler):
    """Migrations and all other commands work through PgBouncer, without a database session of their own."""
    with shop.engine.begin() as connection:
        insert_events(connection, 3, state="dead")
        insert_events(connection, 3, state="published", age=timedelta(days=9))
    through = Shop(shop.engine, shop.command, {**shop.environment, "DATABASE_URL": pooler(2).url})
    for words in COMMANDS:
        through.good(Command(words))
    assert shop.query('SELECT "retryCount" FROM outbox') == [0, 0, 0]


def test_the_pooler_refuses_options_of_the_url_and_the_error_says_so(pooler):
    """PgBouncer refuses startup options in the URL, and payctl's error names DATABASE_URL."""
    url = f"{pooler(2).url}?options=-c%20statement_timeout%3D1"
    engine = engine_of(url)
    with pytest.raises(ConfigError, match="unsupported startup parameter") as caught, transaction(engine, Limits()):
        pass
    assert "DATABASE_URL" in caught.value.hint


def test_the_limits_of_each_transaction_hold_where_startup_options_are_ignored(pooler):
    """If PgBouncer ignores startup options, a transaction still has time limits, because the transaction sets them."""
    engine = engine_of(f"{pooler(2, ignore_startup_parameters='options').url}?options=-c%20statement_timeout%3D1")
    with transaction(engine, Limits(statement=timedelta(seconds=7))) as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "7s"
    engine.dispose()
