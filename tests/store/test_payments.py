"""Test the statements that find and lock a callback's payment, and write its transition as a whole."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.store.conftest import NOON
from ticketbottle_payctl.domain.callback import Callback, Outcome, Request, Unclear, UnclearReason
from ticketbottle_payctl.domain.late_commits import WRITE_WITHIN
from ticketbottle_payctl.domain.new_event import event_for
from ticketbottle_payctl.domain.payment import Payment, PaymentStatus
from ticketbottle_payctl.domain.settlement import Transition
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.store.db.engine import Limits, transaction
from ticketbottle_payctl.store.payctl.receipts import Receipt
from ticketbottle_payctl.store.payments import lookup
from ticketbottle_payctl.store.payments import settle as payments

AT = datetime(2126, 11, 22, 3, 4, 5, 678_000, tzinfo=UTC)  # later than now, for a writer whose clock is ahead
CALLBACK = Callback("vnpay", Outcome.COMPLETED, "a-reference", "TB-1", "7", 250_000)
REQUEST = Request("GET", "/webhook/vnpay", "vnp_x=1")
RECEIPT = Receipt("6a1f0d50-0000-4000-8000-000000000001", CALLBACK, REQUEST, "settled")
COUNTS = """
    SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM payctl.webhook_receipts),
           (SELECT count(*) FROM payctl.event_context), (SELECT count(*) FROM payments WHERE status <> 'PENDING')
"""


@pytest.fixture
def payment(engine):
    """Insert a pending VNPay payment that was created an hour ago, and return the payment."""
    with engine.begin() as connection:
        return insert_payment(
            connection, provider="VNPAY", order_code="TB-1", reference="a-reference", age=timedelta(hours=1)
        )


def nodes_of(plan):
    """Yield every node of a query plan."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes_of(part)


def counts(engine):
    """Return how many events, receipts and contexts exist, and how many payments are not pending."""
    with engine.connect() as connection:
        return tuple(connection.exec_driver_sql(COUNTS).one())


def written(engine, payment, transition, receipt=RECEIPT, event_id="an-event"):
    """Write a transition with its event and receipt in one transaction."""
    row = Payment(payment.id, "TB-1", 250_000, "VND", "VNPAY", "a-reference", transition.before)
    event = event_for(row, transition.after, transition.at, event_id)
    with transaction(engine, Limits()) as connection:
        payments.settle(connection, transition, event, replace(receipt, payment_id=payment.id, event_id=event_id))


def test_locking_a_payment_returns_its_row_and_the_database_s_time(engine, payment):
    """`lock` returns the payment's row, and the database's time in UTC and in whole milliseconds."""
    with transaction(engine, Limits()) as connection:
        row, now = payments.lock(connection, CALLBACK)
        clock = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    assert row == Payment(payment.id, "TB-1", 250_000, "VND", "VNPAY", "a-reference", PaymentStatus.PENDING)
    assert timedelta(0) <= clock - now < timedelta(seconds=5)
    assert now.microsecond % 1000 == 0


def test_only_locking_a_payment_keeps_others_from_changing_it(engine, payment):
    """While a callback's payment is locked, no other transaction can lock it. Finding a payment locks nothing."""
    unclear = Unclear("vnpay", UnclearReason.UNREADABLE, "odd", "TB-1", "a-reference")
    with transaction(engine, Limits()) as connection, engine.connect() as other:
        for read, expected in ((payments.find, nullcontext()), (payments.lock, pytest.raises(OperationalError))):
            assert read(connection, unclear if read is payments.find else CALLBACK)
            with expected:
                other.exec_driver_sql("SELECT id FROM payments WHERE id = %s FOR NO KEY UPDATE NOWAIT", (payment.id,))
            other.rollback()


def test_earlier_transitions_are_read_in_utc(engine, payment):
    """The failedAt and cancelledAt columns are read as UTC. The next transition must be later than both."""
    with engine.begin() as connection:
        sql = "UPDATE payments SET \"failedAt\" = '2126-11-22 03:04:05.678', \"cancelledAt\" = '2126-11-22 03:04:06'"
        connection.exec_driver_sql(sql)
    with transaction(engine, Limits()) as connection:
        row, _ = payments.lock(connection, CALLBACK)
    assert (row.id, row.failed_at, row.cancelled_at) == (payment.id, AT, AT + timedelta(milliseconds=322))


@pytest.mark.usefixtures("payment")
def test_locking_an_unknown_payment_returns_none(engine):
    """If no payment matches the callback, `lock` returns None."""
    with transaction(engine, Limits()) as connection:
        assert payments.lock(connection, replace(CALLBACK, reference="x", order_ref="y")) is None


def test_a_payment_is_found_by_an_index(engine):
    """If the reference and the order code agree, the payment query uses an index and does not scan a table."""
    with engine.begin() as connection:
        for _ in range(50):
            insert_payment(connection, provider="VNPAY")
        insert_payment(connection, provider="VNPAY", order_code="TB-1", reference="a-reference")
        connection.exec_driver_sql("ANALYZE payments")
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        sql = f"EXPLAIN (ANALYZE, FORMAT json) {payments._LOCK_DIRECTLY}"  # noqa: SLF001
        wanted = lookup.parameters(CALLBACK)
        nodes = list(nodes_of(connection.exec_driver_sql(sql, wanted).scalar_one()[0]["Plan"]))
    lookups = [node for node in nodes if node.get("Parent Relationship") == "InitPlan"]
    assert [node["Actual Loops"] for node in lookups] == [1, 0, 0]
    assert {node["Node Type"] for node in nodes if node["Actual Loops"]} & {"Seq Scan", "Bitmap Heap Scan"} == set()
    assert lookups[0]["Index Name"].startswith("payments_orderCode")


def test_a_transition_is_written_as_a_whole_or_not_at_all(engine, payment):
    """The payment, event, context and receipt are written in one transaction.

    A duplicate event id rolls back the whole transaction.
    """
    traced = replace(RECEIPT, correlation_id="one")
    written(engine, payment, Transition(PaymentStatus.PENDING, PaymentStatus.FAILED, AT, late=False), traced)
    assert counts(engine) == (1, 1, 1, 1)
    again = replace(traced, id="6a1f0d50-0000-4000-8000-000000000002")
    with pytest.raises(IntegrityError):
        written(engine, payment, Transition(PaymentStatus.FAILED, PaymentStatus.COMPLETED, AT, late=True), again)
    assert counts(engine) == (1, 1, 1, 1)


@pytest.mark.parametrize("before", [PaymentStatus.FAILED, PaymentStatus.COMPLETED])
def test_nothing_is_written_if_the_payment_s_status_changed(engine, payment, before):
    """If the payment's status has changed since it was read, neither a receipt nor an event is written."""
    with pytest.raises(DatabaseUnavailableError, match="did not update the payment"):
        written(engine, payment, Transition(before, PaymentStatus.COMPLETED, AT, late=True))
    assert counts(engine) == (0, 0, 0, 0)


def test_nothing_is_written_if_the_event_is_too_old(engine, payment):
    """If writing a callback's event takes too long, neither a receipt nor an event is written."""
    long_ago = datetime.now(UTC) - WRITE_WITHIN
    with pytest.raises(DatabaseUnavailableError, match="too slow"):
        written(engine, payment, Transition(PaymentStatus.PENDING, PaymentStatus.COMPLETED, long_ago, late=False))
    assert counts(engine) == (0, 0, 0, 0)


def test_an_event_is_too_old_from_the_limit_on(engine, payment, at_noon):
    """The event must be written within the limit after the transition's time."""
    row = Payment(payment.id, "TB-1", 250_000, "VND", "VNPAY", "a-reference", PaymentStatus.PENDING)
    for earlier, in_time in ((timedelta(0), False), (timedelta(milliseconds=1), True)):
        at = NOON - WRITE_WITHIN + earlier
        transition = Transition(PaymentStatus.PENDING, PaymentStatus.COMPLETED, at, late=False)
        event = event_for(row, transition.after, at, "an-event")
        receipt = replace(RECEIPT, payment_id=payment.id, event_id="an-event")
        with nullcontext() if in_time else pytest.raises(DatabaseUnavailableError, match="too slow"):
            payments.settle(at_noon, transition, event, receipt)
        at_noon.rollback()
        at_noon.exec_driver_sql("SET search_path = public, pg_catalog")
    assert counts(engine) == (0, 0, 0, 0)


@pytest.mark.parametrize(("context", "number"), [({}, 0), ({"correlation_id": "c"}, 1), ({"traceparent": "t"}, 1)])
def test_a_context_is_written_if_the_callback_has_one(engine, payment, context, number):
    """A context is written if the callback has a correlation id or a traceparent. Other payments stay unchanged."""
    with engine.begin() as connection:
        insert_payment(connection, provider="VNPAY")
    transition = Transition(PaymentStatus.PENDING, PaymentStatus.FAILED, AT, late=False)
    written(engine, payment, transition, replace(RECEIPT, **context))
    assert counts(engine) == (1, 1, number, 1)


@pytest.mark.parametrize(
    ("after", "column"),
    [
        (PaymentStatus.COMPLETED, "completedAt"),
        (PaymentStatus.FAILED, "failedAt"),
        (PaymentStatus.CANCELLED, "cancelledAt"),
    ],
)
def test_a_transition_sets_its_own_instant(engine, payment, after, column):
    """The only time columns that a transition sets are updatedAt and its own state's time column."""
    written(engine, payment, Transition(PaymentStatus.PENDING, after, AT, late=False))
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT * FROM payments").mappings().one()
    instants = {name: row[name] for name in ("completedAt", "failedAt", "cancelledAt", "updatedAt")}
    plain = AT.replace(tzinfo=None)
    assert instants == dict.fromkeys(instants) | {column: plain, "updatedAt": plain}
    assert row["createdAt"] < datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=59)


@pytest.mark.parametrize(
    ("reference", "order_ref", "place"), [("one", "TB-1", 0), ("one", "TB-3", 1), ("one", "?", 1), ("?", "TB-3", 2)]
)
def test_a_payment_is_found_by_both_names_then_by_its_reference_then_by_its_order_code(
    engine, reference, order_ref, place
):
    """`payctl` searches for a payment by reference and order code together, then by reference, then by order code."""
    with engine.begin() as connection:
        made = [
            insert_payment(connection, provider="VNPAY", order_code=code, reference=other, age=timedelta(hours=age))
            for code, other, age in (("TB-1", "one", 2), ("TB-2", "one", 1), ("TB-3", "other", 0))
        ]
    with transaction(engine, Limits()) as connection:
        row, _ = payments.lock(connection, replace(CALLBACK, reference=reference, order_ref=order_ref))
    assert row.id == made[place].id


@pytest.mark.parametrize(
    ("estimate", "counted", "expected"), [(-1, 7_654_321, 7_654_321), (-1, 0, 0), (-1, None, 0), (12_345, None, 12_345)]
)
def test_the_payments_are_counted_roughly_from_the_statistics(engine, execute, estimate, counted, expected):
    """The number of payments is the planner's estimate or the number in the statistics, whichever is greater."""
    execute(f"""
        UPDATE pg_class SET reltuples = {estimate} WHERE oid = 'payments'::regclass;
        CREATE VIEW public.pg_stat_all_tables AS SELECT * FROM (VALUES
            ('outbox'::regclass::oid, 99), ('payments'::regclass::oid, {"NULL" if counted is None else counted})
        ) AS t (relid, n_live_tup) WHERE n_live_tup IS NOT NULL
    """)  # noqa: S608 - numbers only
    with engine.connect() as connection:
        connection.exec_driver_sql("SET search_path = public, pg_catalog")  # by default, pg_catalog is first
        assert lookup.count_roughly(connection) == expected


@pytest.mark.usefixtures("payment")
def test_a_gateway_has_payments_whatever_its_spelling_is(engine, execute):
    """A gateway has payments if any payment has the gateway's name in any spelling."""
    execute("UPDATE payments SET provider = 'VN-Pay'")
    with engine.connect() as connection:
        assert [lookup.has_any_of(connection, name) for name in ("vnpay", "payos")] == [True, False]
