"""Test the limits and the wording of the doctor's checks, with made-up facts instead of services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.broker.topics import Topic
from ticketbottle_payctl.domain.causes import Evidence
from ticketbottle_payctl.jobs.doctor import Status
from ticketbottle_payctl.jobs.doctor.callbacks import _fact, _kinds, _settling
from ticketbottle_payctl.jobs.doctor.grants import _grant, _is_meant, _lacks_from
from ticketbottle_payctl.jobs.doctor.housekeeping import _advice, _release
from ticketbottle_payctl.jobs.doctor.kafka import _topic
from ticketbottle_payctl.jobs.doctor.keys import _combinations, _merged, _spoiled, _worst_first
from ticketbottle_payctl.jobs.doctor.model import DoctorReport, Subject, fail, off, ok, warn
from ticketbottle_payctl.jobs.doctor.publishers import _running
from ticketbottle_payctl.jobs.doctor.why_events_wait import _all_well
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.store.inspect.sessions import SnapshotHolder
from ticketbottle_payctl.store.inspect.tables import PAYCTL, Housekeeping, Privilege
from ticketbottle_payctl.store.payments.open_orders import OpenOrder
from ticketbottle_payctl.store.payments.unsettled_callbacks import UnsettledCallback

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TICK, DAY = timedelta(microseconds=1), timedelta(days=1)
SUBJECT = Subject(engine=None, kafka=None, producer=None, credentials=None, now=lambda: NOW)
TOPIC = Topic("payment.completed", 6, 3, 0, 0, None)
TIDY = Housekeeping(50_000, 0, 1, NOW, (), autovacuum=True)


@pytest.mark.parametrize(
    ("topic", "brokers", "status", "words"),
    [
        (TOPIC, 3, "ok", "topic payment.completed: 6 partitions, 3 replicas"),
        (TOPIC._replace(partitions=2, replicas=1), 1, "ok", "2 partitions, 1 replica"),
        (TOPIC._replace(replicas=1), 2, "warn", "6 partitions, 1 replica"),
        (TOPIC._replace(partitions=1), 3, "warn", "1 partition, 3 replicas"),
        (TOPIC._replace(lagging=2), 3, "warn", "6 partitions, 3 replicas, 2 with lagging replicas"),
        (TOPIC._replace(leaderless=1, lagging=2), 3, "fail", "6 partitions, 3 replicas, 1 without a leader"),
        (TOPIC._replace(partitions=0), 3, "fail", "the topic has no partitions"),
        (TOPIC._replace(problem="UNKNOWN_TOPIC_OR_PART"), 3, "fail", "UNKNOWN_TOPIC_OR_PART"),
    ],
)
def test_a_topic_is_judged_by_its_leaders_and_its_replicas(topic, brokers, status, words):
    """For a topic without a leader, the doctor reports a failure.

    For lagging replicas, a single replica or a single partition, it warns.
    """
    finding = _topic(topic, brokers)
    assert (finding.status, finding.fact.endswith(words)) == (status, True)
    assert (finding.meaning is None) == (status == "ok")
    assert status != "fail" or finding.meaning.startswith("PAYMENT_COMPLETED ")


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        ({}, None),
        ({"dead": 10_000, "live": 10_000}, None),
        ({"dead": 10_001, "live": 50_004}, "autovacuum is not keeping up"),
        ({"dead": 10_001, "live": 50_005}, None),
        ({"dead": 20_000, "live": 100_000}, None),
        ({"dead": 20_001, "live": 100_000}, "autovacuum is not keeping up"),
        ({"autovacuum": False}, "autovacuum is off"),
        ({"options": ("autovacuum_enabled=false",)}, "autovacuum is off"),
        ({"live": 10_000, "last_analyze": None}, None),
        ({"live": 10_001, "last_analyze": None}, "the table was never analysed"),
        ({"last_analyze": NOW - 7 * DAY}, None),
        ({"last_analyze": NOW - 7 * DAY - TICK}, "the statistics are 7 days old"),
        ({"live": 10_000, "last_analyze": NOW - 30 * DAY}, None),
    ],
)
def test_a_small_or_tidy_outbox_needs_no_vacuum(facts, advice):
    """The doctor warns about the outbox if vacuum is off or falls behind, or if a large table's statistics are old."""
    found = _advice(TIDY._replace(**facts), SUBJECT)
    assert (found is None) if advice is None else found.startswith(advice)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("session", "SELECT pg_terminate_backend(7)"),
        ("prepared transaction", "ROLLBACK PREPARED 'x'"),
        ("replication slot", "SELECT pg_drop_replication_slot('x')"),
    ],
)
def test_each_kind_of_old_snapshot_is_released_by_its_own_statement(kind, sql):
    """To release an old snapshot, the doctor's SQL ends the session, rolls back the transaction, or drops the slot."""
    remedy, statement = _release(SnapshotHolder(kind, "x", 7, 1.0, None))
    assert (statement, remedy is None) == (sql, False)


@pytest.mark.parametrize(("shards", "status"), [(None, Status.OK), (2, Status.OK), (1, Status.WARN), (3, Status.WARN)])
def test_a_publisher_with_another_number_of_shards_is_a_warning(shards, status):
    """The doctor warns about a publisher whose number of shards is known and differs from this machine's setting."""
    subject = Subject(engine=None, kafka=None, producer=None, credentials=None, now=None, shards=2)
    finding = _running("it", shards, subject)
    assert (finding.check, finding.status, finding.fact) == ("publishers", status, "it")
    if status is Status.WARN:
        assert (f"PAYCTL_SHARDS={shards}" in finding.remedy, "is 2 here" in finding.meaning) == (True, True)


def test_a_report_is_healthy_if_nothing_fails():
    """The doctor's report counts its findings by status. Warnings leave it healthy, but a failure does not."""
    findings = (ok("a", "b"), off("a", "b"), warn("a", "b", "c"))
    report = DoctorReport(findings)
    assert (report.counts, report.off, report.healthy) == ({"ok": 2, "warn": 1, "fail": 0}, 1, True)
    assert (findings[0].off, findings[1].off) == (False, True)
    assert not DoctorReport((*findings, fail("a", "b", "c"))).healthy
    assert (SUBJECT.shards, SUBJECT.max_retries) == (1, 5)


@pytest.mark.parametrize(
    ("status", "order", "reason", "expected"),
    [
        ("PENDING", "TB-1", "unreadable", ("reconcile", "payments")),
        ("PENDING", "TB-1", "ambiguous", ("reconcile", "payments")),
        ("PENDING", "TB-1", "unknown_order", ("process-webhook",)),
        ("PENDING", "TB-1", "wrong_amount", None),
        ("PENDING", None, "unreadable", None),
        ("COMPLETED", "TB-1", "unreadable", None),
        (None, "TB-1", "unknown_order", None),
    ],
)
def test_a_command_settles_a_callback_only_if_its_payment_is_pending(status, order, reason, expected):
    """The doctor suggests a command for a callback only if the callback's payment is PENDING.

    The command asks for confirmation.
    """
    command = _settling(callback(status=status, order_code=order, reason=reason))
    assert (command and command.verb) == expected
    assert command is None or command.changes


def callback(**facts):
    """Return a MoMo callback that settled nothing. Its payment was made with MoMo."""
    known = UnsettledCallback("r", "unreadable", 60.0, "TB-1", "PENDING", gateway="momo", made_for="MOMO")
    return known._replace(**facts)


def test_the_facts_about_callbacks_begin_with_the_most_frequent_reason():
    """The doctor's finding lists each reason with its number of callbacks or orders, most frequent reason first."""
    reasons = ("held", "unreadable", "unreadable")
    facts = _fact([callback(reason=reason, age_s=60.0 * number) for number, reason in enumerate(reasons, 1)])
    assert facts == ("3 genuine callbacks settled nothing; the oldest arrived 1 min ago: 2 unreadable, 1 held")
    orders = [OpenOrder(None, "p", "TB-1", 9, NOW, why) for why in ("late_money", "refunded", "refunded")]
    assert _kinds(orders) == "2 refunded, 1 late_money"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "no event is pending or dead"),
        ({"dead": 2}, "no event is pending; 2 dead events closed by an operator"),
        ({"pending": 3, "oldest_s": 5.0}, "3 events pending, the oldest for 5 s; none is dead"),
        ({"pending": 1, "dead": 1}, "1 event pending, the oldest for 0 ms; 1 dead event closed by an operator"),
    ],
)
def test_a_backlog_without_a_fault_is_described(facts, expected):
    """If no event is overdue, the doctor says how many events are pending, and how many dead events are closed."""
    assert _all_well(Evidence(**facts)) == expected


def secrets(**values):
    """Return keys, each with its current value first."""
    return {name: tuple(Secret(value) for value in several) for name, several in values.items()}


def test_each_previous_key_is_checked_with_the_current_other_keys():
    """During a rotation, each previous value is checked with the current values of the other keys."""
    fields = [field for field in GATEWAYS["momo"].fields if field.signs_callbacks]
    keys = secrets(partner_code=["p"], access_key=["a1", "a2"], secret_key=["s1", "s2"])
    known = [[value.reveal() for value in one] for one in _combinations(fields, keys)]
    assert sorted(known) == sorted([["p", "a1", "s1"], ["p", "a1", "s2"], ["p", "a2", "s1"]])


@pytest.mark.parametrize("value", [" k", "k ", "k\n", "'k", 'k"', "`k`"])
def test_a_key_with_a_space_or_a_quotation_mark_at_its_end_is_a_warning(value):
    """The doctor warns about each value that begins or ends with white space or a quotation mark."""
    gateway = GATEWAYS["vnpay"]
    (finding,) = _spoiled(gateway, secrets(hash_secret=["k", value, "a 'k' b"]))
    assert (finding.status, "VNPAY_HASH_SECRET" in finding.fact) == (Status.WARN, True)
    assert _spoiled(gateway, secrets(hash_secret=["k", "a 'k' b"])) == []


def test_a_failure_about_a_key_comes_before_a_warning():
    """The doctor lists failures about keys before warnings.

    If any of a gateway's keys is wrong, the doctor does not report the gateway's other keys as ok.
    """
    good, bad, odd = ok("keys", "g"), fail("keys", "f", "m"), warn("keys", "w", "m")
    assert _worst_first([odd, bad, good]) == [bad, odd, good]
    assert _merged(GATEWAYS["momo"], [good, bad, odd]) == [bad, odd]
    (one,) = _merged(GATEWAYS["momo"], [good])
    assert one.fact == "MoMo: verified 1 test callback and refused a tampered one"
    (three,) = _merged(GATEWAYS["momo"], [good] * 3)
    assert three.fact.startswith("MoMo: verified 3 test callbacks (2 with keys from before a rotation)")


READ, RUNS = Privilege("outbox", "SELECT"), Privilege("payctl.runs", "INSERT")
USAGE = Privilege(PAYCTL, "USAGE")
WRITE, WRITE_MORE = (Privilege("outbox", "UPDATE", name) for name in ("published", "lastError"))


def test_a_missing_privilege_is_named_with_its_table_and_column():
    """The doctor's finding names the first missing privilege and counts the others.

    One GRANT statement grants all missing privileges on a table.
    """
    finding = _lacks_from("shop_owner", "replay", "ops", [WRITE, WRITE_MORE, READ, RUNS, USAGE], "shop")
    assert finding.fact == ('role ops can do only part of replay; it lacks UPDATE on outbox ("published") and 4 more')
    assert finding.sql == (
        'GRANT UPDATE ("published", "lastError"), SELECT ON "shop".outbox TO "ops"; '
        'GRANT INSERT ON payctl.runs TO "ops"; GRANT USAGE ON SCHEMA payctl TO "ops"'
    )
    assert finding.remedy == "as the user shop_owner, run"
    one = _lacks_from("shop_owner", "stats", "ops", [READ], "shop")
    assert one.fact.endswith("it lacks SELECT on outbox")
    assert one.sql == _grant("ops", "outbox", [READ], "shop")
    assert _lacks_from("shop_owner", "stats", "ops", [READ, RUNS], "shop").fact.endswith("SELECT on outbox and 1 more")


@pytest.mark.parametrize(
    ("held", "explained", "expected"),
    [
        ({WRITE: True, READ: False}, set(), True),
        ({WRITE: True, READ: False}, {WRITE}, False),
        ({WRITE: False, READ: True}, set(), False),
        ({RUNS: True, WRITE: False}, set(), False),
    ],
)
def test_a_role_is_meant_for_a_task_if_it_may_write_what_only_this_task_writes(held, explained, expected):
    """A role is meant for a task if it has a write privilege on the service's tables that only this task needs.

    Read privileges do not count, because every task reads these tables.
    """
    assert _is_meant(held, explained) is expected
