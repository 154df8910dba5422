"""Test the doctor's finding about overdue payments, whose gateway has not answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ticketbottle_payctl.domain.causes import Command
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose, payments
from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres

COPY_PAYMENT = """
    INSERT INTO payments SELECT (jsonb_populate_record(p, jsonb_build_object('id', copy::text, 'orderCode', copy,
        'idempotencyKey', copy, 'providerTransactionId', copy))).*
    FROM payments AS p, generate_series(1, %(copies)s) AS copy"""
"""Copies the only payment, with other unique values."""
ASK = Command(("reconcile", "payments"), options=("-n",))


@pytest.fixture
def found(engine):
    """Return a function that runs the doctor's payment check and returns its finding."""

    def look():
        (finding,) = diagnose(
            Subject(lambda: engine, None, None, lambda _: {}, lambda: datetime.now(UTC)), ["payments"]
        ).findings
        return finding

    return look


def test_the_doctor_warns_about_payments_whose_gateway_never_called(engine, found):
    """The doctor counts the payments that are PENDING for too long, and suggests the command that asks the gateways."""
    with engine.begin() as connection:
        insert_payment(connection, age=timedelta(hours=1))
        insert_payment(connection, age=timedelta(days=6))
    finding = found()
    assert (finding.status, finding.command) == (Status.WARN, ASK)
    assert finding.fact == "2 payments from the last 7 days are PENDING for over 20 min"
    assert finding.meaning == "some customers may have paid but have no ticket"


OLD = timedelta(hours=49)
ASK_ONLY = "ask the gateways; this changes nothing"
PORTAL = "look in the gateway's portal"
RECORD = "then record what you found with payctl close"


@pytest.mark.parametrize(
    ("made", "remedy", "command"),
    [
        ([("ZALOPAY", OLD)], f"{PORTAL}, because it is too old for its status query; {RECORD}", None),
        ([("zalo-pay", OLD), ("ZALOPAY", OLD)],
         f"{PORTAL}, because they are too old for its status query; {RECORD}", None),
        ([("ZALOPAY", OLD), ("ZALOPAY", timedelta(hours=47))],
         f"{ASK_ONLY}; 1 payment is too old for a status query, so {PORTAL} too; {RECORD}", ASK),
        ([("PAYOS", OLD), ("VNPAY", OLD), ("MOMO", OLD)], ASK_ONLY, ASK),
    ],
    ids=["one too old", "all too old", "some too old", "gateways without a limit"],
)  # fmt: skip
def test_the_doctor_refers_to_the_portal_for_payments_that_the_gateway_no_longer_answers_about(
    made, remedy, command, engine, found
):
    """ZaloPay answers queries for 48 hours.

    For older payments, the doctor refers to ZaloPay's portal instead of a command.
    """
    with engine.begin() as connection:
        for provider, age in made:
            insert_payment(connection, provider=provider, age=age)
    finding = found()
    assert (finding.status, finding.remedy, finding.command) == (Status.WARN, remedy, command)


@pytest.mark.parametrize(
    ("status", "age"),
    [("PENDING", timedelta(minutes=10)), ("PENDING", timedelta(days=8)), ("COMPLETED", timedelta(hours=1))],
)
def test_the_doctor_reports_no_payment_that_is_not_overdue(status, age, engine, found):
    """The doctor does not report payments that are young, older than seven days, or not PENDING."""
    with engine.begin() as connection:
        insert_payment(connection, status=status, age=age)
    finding = found()
    assert (finding.status, finding.fact) == (Status.OK, "no payment from the last 7 days is overdue")


def test_the_doctor_says_if_it_may_not_count_payments(engine, found):
    """If a table is missing, the doctor warns that it cannot see overdue payments."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE payctl.run_items")
    finding = found()
    assert (finding.status, finding.command) == (Status.WARN, None)
    assert finding.fact.startswith("payctl cannot count the overdue payments")


def test_the_doctor_says_if_it_did_not_count_all_payments_in_time(engine, found, make_payments_slow):
    """If the count takes too long, the doctor warns, and suggests the command that finds the payments."""
    with engine.begin() as connection:
        insert_payment(connection)
    make_payments_slow(payments)
    finding = found()
    assert (finding.status, finding.command) == (Status.WARN, ASK)
    assert finding.fact == "the overdue payments were not counted within the time limit"


def test_the_doctor_reads_each_payment_once(engine, found):
    """To count the overdue payments, the doctor reads each row of the payments table only once."""
    with engine.begin() as connection:
        for status in ("PENDING", "COMPLETED", "FAILED"):
            insert_payment(connection, status=status, age=timedelta(hours=1))
        connection.exec_driver_sql(
            """
            CREATE SEQUENCE rows_read;
            ALTER TABLE payments RENAME TO real_payments;
            CREATE VIEW payments AS SELECT * FROM real_payments WHERE nextval('rows_read') > 0 OFFSET 0
            """
        )
    assert found().fact == "1 payment from the last 7 days is PENDING for over 20 min"
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT last_value FROM rows_read").scalar_one() == 3


@pytest.mark.parametrize(
    ("number", "told"), [(2, "2 payments"), (3, "more than 2 payments"), (4, "more than 2 payments")]
)
def test_the_doctor_counts_overdue_payments_up_to_a_limit(number, told, engine, found, monkeypatch):
    """If there are too many overdue payments, the doctor stops counting and says so."""
    monkeypatch.setattr(payments, "MOST", 2)
    with engine.begin() as connection:
        for _ in range(number):
            insert_payment(connection, age=timedelta(hours=1))
    assert found().fact == f"{told} from the last 7 days are PENDING for over 20 min"


@pytest.mark.parametrize(("copies", "told"), [(9_999, "10,000 payments"), (10_000, "more than 10,000 payments")])
def test_the_doctor_counts_ten_thousand_overdue_payments(copies, told, engine, found):
    """The doctor counts at most 10,000 overdue payments."""
    with engine.begin() as connection:
        insert_payment(connection, age=timedelta(hours=1))
        connection.exec_driver_sql(COPY_PAYMENT, {"copies": copies})
    assert found().fact.startswith(f"{told} from the last 7 days")


@pytest.mark.parametrize("old", [1, 3])
def test_the_doctor_counts_no_old_payments_among_too_many(old, engine, found, monkeypatch):
    """If the doctor stops counting overdue payments, it does not say how many are too old for a status query."""
    monkeypatch.setattr(payments, "MOST", 2)
    with engine.begin() as connection:
        for each in range(3):
            age = timedelta(days=3) if each < old else timedelta(hours=1)
            insert_payment(connection, provider="ZALOPAY", age=age)
    assert "; some may be too old for a status query, so " in found().remedy
