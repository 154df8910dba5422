"""Test which dead events each role of docs/how-to/database-roles.md recognises as harmless or closed."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.cleanup import cleanup
from ticketbottle_payctl.jobs.close_event import close_event, find_event
from ticketbottle_payctl.jobs.measure_outbox import count_harmless_dead
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.jobs.stats import collect_stats
from ticketbottle_payctl.sandbox.payment_service import (
    insert_events,
    insert_payments_of_events,
)
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox import dead
from ticketbottle_payctl.store.payctl.runs import Actor, NewRun


@pytest.fixture
def without_grants(engine_as):
    """Revoke the cleanup role's privileges to read closed events, and grant them again after the test."""
    grants = ("SELECT (id, status) ON payments", "SELECT (item_id, outcome, reason) ON payctl.run_items")
    with engine_as("superuser").begin() as connection:
        for each in grants:
            connection.exec_driver_sql(f"REVOKE {each} FROM payctl_cleanup")
    yield
    with engine_as("superuser").begin() as connection:
        for each in grants:
            connection.exec_driver_sql(f"GRANT {each} TO payctl_cleanup")


@pytest.mark.parametrize("role", ["publisher", "cleanup"])
def test_two_roles_count_the_dead_events_that_do_no_harm(engine_as, role):
    """The publisher and cleanup roles are allowed to read a payment's id and status.

    Therefore they recognise harmless dead events.
    """
    dead_failures(engine_as, 1)
    assert count_harmless_dead(engine_as(role), 5) == 1


@pytest.mark.usefixtures("without_grants")
def test_a_role_that_may_not_read_payments_counts_every_dead_event_as_harmful(engine_as):
    """A role without the privilege to read a payment's id and status recognises no harmless dead event."""
    dead_failures(engine_as, 1)
    assert count_harmless_dead(engine_as("cleanup"), 5) == 0


def dead_failures(engine_as, number):
    """Replace all events by dead failure events of completed payments."""
    with engine_as("superuser").begin() as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        insert_events(connection, number, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")


def close_one(engine_as):
    """Close the first of the dead events."""
    with engine_as("superuser").connect() as connection:
        event_id = connection.exec_driver_sql("SELECT min(id) FROM outbox").scalar_one()
    event = find_event(engine_as("operator"), event_id, 5)
    close_event(engine_as("operator"), event, NewRun(str(uuid4()), "close", Actor("me", "here")), 5, "payctl show")


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_cleanup_role_leaves_out_the_dead_events_that_a_person_has_closed(engine_as, dry_run):
    """The scheduled cleanup counts closed dead events separately, reports only the others, and deletes none of them."""
    dead_failures(engine_as, 2)
    close_one(engine_as)
    report = cleanup(engine_as("cleanup"), retention=timedelta(0), max_retries=5, dry_run=dry_run)
    assert (report.dead, report.closed, report.closings_known) == (2, 1, True)
    assert (report.counts["closed"], [group.events for group in report.groups]) == (1, [1])
    with engine_as("superuser").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM outbox").scalar_one() == 2


@pytest.mark.usefixtures("without_grants")
def test_a_cleanup_that_may_not_read_the_closings_says_so(engine_as, caplog):
    """A cleanup works without the privilege to read closing records, but then it counts closed events as open.

    The log line says that its number includes closed events.
    """
    caplog.set_level("INFO", logger="ticketbottle_payctl")
    dead_failures(engine_as, 2)
    close_one(engine_as)
    with engine_as("superuser").begin() as connection:
        insert_events(connection, 1, state="published", age=timedelta(days=8))
    report = cleanup(engine_as("cleanup"), retention=timedelta(days=7), max_retries=5)
    assert (report.deleted, report.dead, report.closed, report.closings_known) == (1, 2, 0, False)
    assert "closed" not in report.counts
    (alert,) = [each.payctl_fields for each in caplog.records if each.getMessage() == "outbox_dead_events"]
    assert (alert["events"], alert["includes_closed"]) == (2, True)


def test_a_role_that_may_not_read_why_an_event_was_closed_counts_no_closing(engine_as):
    """A role without the new privilege to read the reason of a closing counts the closed event as open."""
    dead_failures(engine_as, 1)
    close_one(engine_as)
    counted = []
    for statement in (
        "REVOKE SELECT (reason) ON payctl.run_items FROM",
        "GRANT SELECT (reason) ON payctl.run_items TO",
    ):
        with engine_as("superuser").begin() as connection:
            connection.exec_driver_sql(f"{statement} payctl_publisher")
        with engine_as("publisher").connect() as connection:
            counted.append((dead.count(connection, 5).closed, dead.harmless(connection, 5)))
    assert counted == [(0, 1), (1, 1)]


def test_the_publisher_role_leaves_out_the_dead_events_that_a_person_has_closed(engine_as, mock_kafka):
    """A publisher with the documented privileges, `stats` and `errors` count the same closed dead event."""
    dead_failures(engine_as, 2)
    close_one(engine_as)
    producer = Producer(producer_config(KafkaSettings(mock_kafka.bootstrap)))
    obstacles = publish_outbox(engine_as("publisher"), producer, PublishOptions()).obstacles
    producer.close()
    assert (obstacles.dead, obstacles.dead_failures, obstacles.dead_closed) == (2, 2, 1)
    stats = collect_stats(engine_as("publisher"), max_retries=5, explain=True)
    assert (stats.dead, stats.superseded, stats.closed) == (2, 2, 1)
