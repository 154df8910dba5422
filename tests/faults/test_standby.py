"""Test that payctl survives the loss of a primary database under load and the promotion of its standby."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from tests.checker import Verdict, audit, judge, rows_of
from tests.checker.payments import PaymentFaults, judge_payments, states_of
from tests.conftest import POSTGRES, engine_of, new_postgres
from tests.faults.business import TOPICS, Business
from tests.faults.shop import Command, Shop
from tests.proxy import Proxy
from tests.servers.standby import NAME, Standby, execute
from tests.stand_ins import Gateways, serving
from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.payment_service import create_tables
from ticketbottle_payctl.sandbox.server import free_port, in_memory, wait_until
from ticketbottle_payctl.store.db.migrations import upgrade

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

DATABASE = "payments"
IN_STEP = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{NAME}' AND sync_state = 'sync'"  # noqa: S608


@pytest.fixture
def pair(made) -> Iterator:
    """Yield a primary and its standby. The primary has the payment service's tables and the checker's audit tables."""
    primary = new_postgres()
    try:
        engine = engine_of(primary.create_database(DATABASE))
        with engine.begin() as connection:
            create_tables(connection)
        upgrade(engine)
        audit.install(engine)
        engine.dispose()
        standby = made(lambda: Standby(primary.url(), binaries=POSTGRES, within=in_memory()))
        yield primary, standby
        standby.close()
    finally:
        primary.close()


def synchronous(primary):
    """Make each commit wait for the standby."""
    url = primary.url()
    execute(url, f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
    execute(url, "SELECT pg_reload_conf()")
    wait_until(lambda: execute(url, IN_STEP), what="the standby is synchronous", timeout=30)


def both(primary, standby):
    """Return a URL with the primary and the standby. libpq chooses the server that accepts writes."""
    parts = urlsplit(primary.url(DATABASE))
    query = f"host=127.0.0.1,127.0.0.1&port={primary.port},{standby.port}&target_session_attrs=read-write"
    return parts._replace(query=query).geturl()


def caught_up(primary, standby):
    """Wait until the standby has received every commit from the primary."""
    now = execute(primary.url(), "SELECT pg_current_wal_lsn()::text")
    behind = f"SELECT pg_last_wal_replay_lsn() < '{now}'"
    wait_until(lambda: not standby.execute(behind), what="the standby has received every commit", timeout=30)


@contextmanager
def through_a_proxy(primary):
    """Yield a proxy in front of the primary, and a URL with the proxy's port.

    The proxy acts as the cluster's address.
    """
    parts, port = urlsplit(primary.url(DATABASE)), free_port()
    with Proxy(port, primary.port) as proxy:
        yield proxy, parts._replace(netloc=parts.netloc.replace(f":{primary.port}", f":{port}")).geturl()


def test_a_synchronous_standby_s_promotion_loses_no_event(pair, mock_kafka):
    """If a synchronous standby is promoted, callbacks and the publisher find it in the list of hosts.

    No acknowledged payment is lost.
    """
    primary, standby = pair
    synchronous(primary)
    engine = engine_of(both(primary, standby))
    business = Business(engine, mock_kafka.bootstrap)
    with business.running():
        business.wait_for(40)
        primary.stop("immediate")
        standby.promote()
        business.wait_for(40)
    verdict = business.verdict()
    assert business.refused or business.failures
    assert verdict == Verdict(duplicates=verdict.duplicates)
    assert {row.retry_count for row in rows_of(engine)} == {0}
    engine.dispose()


def test_reconcile_repairs_what_an_asynchronous_standby_had_not_received(pair, mock_kafka):
    """If a failover loses settled payments, they are PENDING again.

    Reconcile settles these payments, and each gets a new event.

    Kafka then contains two events for each payment. One is the event that the failover lost, and the other has a new
    id.
    """
    primary, standby = pair
    with through_a_proxy(primary) as (proxy, url), serving(Gateways()) as gateways:
        engine = engine_of(url)
        business = Business(engine, mock_kafka.bootstrap)
        payments = business.insert(5, age=timedelta(hours=1))
        caught_up(primary, standby)
        standby.stop_following()
        with business.running(customers=0):
            business.call_again()
        ids = {row.id for row in rows_of(engine)}
        primary.stop("immediate")
        proxy.target = standby.port
        standby.promote()
        assert (set(states_of(engine).values()), rows_of(engine)) == ({"PENDING"}, [])
        gateways.states |= {payment.reference: "paid" for payment in payments}
        shop = Shop(engine, [], {**gateways.environment, "DATABASE_URL": url})
        shop.good(Command(("reconcile", "payments", "-y", "--reason", "a failover", "--rate", "1000/s")))
        with business.running(customers=0):
            pass
        assert judge_payments(audit.read(engine), states_of(engine), business.reported) == PaymentFaults()
        messages = read_all(mock_kafka.bootstrap, TOPICS)
        assert judge(rows_of(engine), messages) == Verdict(phantom=sorted(ids))
        assert Counter(message.key.decode() for message in messages) == {payment.id: 2 for payment in payments}
        engine.dispose()
