"""Test which exit code the mark of the first line has, as `payctl help exit-codes` says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events

pytestmark = pytest.mark.postgres
HOUR = timedelta(hours=1)


@pytest.fixture
def shop(engine):
    """Insert a fresh order, an overdue order, a harmless dead event and, if asked, a harmful dead event."""

    def write(*, harmful):
        with engine.begin() as connection:
            insert_payment(connection, order_code="TB-NEW")
            insert_payment(connection, order_code="TB-OLD", age=HOUR)
            insert_events(connection, 1, event_type="PAYMENT_FAILED", state="dead", age=HOUR, last_error="A: no")
            insert_payments_of_events(connection)
            connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED' WHERE status = 'FAILED'")
            if harmful:
                insert_events(connection, 1, state="dead", last_error="B: no")
                insert_payments_of_events(connection)

    return write


@pytest.mark.parametrize(
    ("line", "harmful", "mark", "code"),
    [
        ("show TB-NEW", False, "!", 5),
        ("show TB-OLD", False, "✘", 5),
        ("stats", False, "!", 0),
        ("stats", True, "!", 0),
        ("stats --check --max-failed 0", False, "✔", 0),
        ("stats --check --max-failed 0", True, "✘", 5),
        ("doctor --only backlog", False, "!", 0),
        ("doctor --only backlog", True, "✘", 5),
        ("errors", True, "!", 0),
        ("report", True, "# !", 0),
    ],
)
def test_the_mark_and_the_exit_code_fit_the_page_about_exit_codes(
    shop, invoke, database_url, line, harmful, mark, code
):
    """The mark ! exits with 5 only in `show`, and with 0 in the commands that only report."""
    shop(harmful=harmful)
    shown = invoke(*line.split(), DATABASE_URL=database_url)
    assert (shown.stdout.splitlines()[0].startswith(f"{mark} "), shown.exit_code) == (True, code), shown.output


def test_the_page_names_the_commands_whose_mark_exits_with_0(answer):
    """`payctl help exit-codes` says when the mark ! means exit code 5, and when it means 0."""
    text = " ".join(answer("help", "exit-codes")["result"]["text"].split())
    assert "With show, its exit code is 5" in text
    assert "With stats, doctor, errors and report, its exit code is 0" in text
