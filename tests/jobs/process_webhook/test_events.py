"""Test that each change of a payment's state writes one event with the right payload and instant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ticketbottle_payctl.jobs.process_webhook import Alert
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import Scenario
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

PAID, FAILED, CANCELLED = Scenario.PAID, Scenario.FAILED, Scenario.CANCELLED
LATE, CONTRADICTION = Alert.LATE_MONEY, Alert.CONTRADICTS_COMPLETED
ENDS = {
    FAILED: ("FAILED", "PAYMENT_FAILED", "failed_at", "failedAt"),
    CANCELLED: ("CANCELLED", "PAYMENT_CANCELLED", "cancelled_at", "cancelledAt"),
    PAID: ("COMPLETED", "PAYMENT_COMPLETED", "completed_at", "completedAt"),
}
ORDERS = [  # the callbacks, the final status, the events and the alerts
    ((PAID, PAID), "COMPLETED", "C", (None, None)),
    ((PAID, FAILED), "COMPLETED", "C", (None, CONTRADICTION)),
    ((PAID, CANCELLED), "COMPLETED", "C", (None, CONTRADICTION)),
    ((FAILED, PAID), "COMPLETED", "FC", (None, LATE)),
    ((FAILED, FAILED), "FAILED", "F", (None, None)),
    ((FAILED, CANCELLED), "FAILED", "F", (None, None)),
    ((CANCELLED, PAID), "COMPLETED", "XC", (None, LATE)),
    ((CANCELLED, FAILED), "CANCELLED", "X", (None, None)),
    ((CANCELLED, CANCELLED), "CANCELLED", "X", (None, None)),
    ((FAILED, PAID, FAILED, PAID), "COMPLETED", "FC", (None, LATE, CONTRADICTION, None)),
    ((CANCELLED, FAILED, PAID, CANCELLED), "COMPLETED", "XC", (None, None, LATE, CONTRADICTION)),
]
LETTERS = {"PAYMENT_COMPLETED": "C", "PAYMENT_FAILED": "F", "PAYMENT_CANCELLED": "X"}
HANOI = "Asia/Ho_Chi_Minh"


def utc(text):
    """Return an instant from a payload as a UTC datetime without a time zone, as the database stores it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: DTZ007


@pytest.mark.parametrize("scenario", list(ENDS))
@pytest.mark.parametrize("provider", ["vnpay", "momo"])
def test_a_change_of_state_writes_one_event(shop, provider, scenario):
    """When a payment's state changes, payctl writes one event with the fields that the order service reads."""
    status, event_type, at_field, column = ENDS[scenario]
    payment = shop.payment(provider, amount=2_147_483_647)
    report = shop.process(payment, scenario)
    (event,), row = shop.events(), shop.row(payment)
    payload = event["payload"]
    assert UUID(event["id"]).version == 4
    assert payload == {
        "payment_id": payment.id,
        "order_code": payment.order_code,
        "amount_cents": 2_147_483_647,
        "currency": "VND",
        "provider": provider.upper(),
        "transaction_id": payment.reference,
        at_field: payload[at_field],
    }
    assert isinstance(payload["amount_cents"], int)
    assert utc(payload[at_field]) == event["createdAt"] == row[column] == row["updatedAt"]
    assert row["status"] == status
    wanted = {"aggregateId": payment.id, "aggregateType": "payment", "eventType": event_type, "lastError": None}
    wanted |= {"id": report.event.id, "published": False, "publishedAt": None, "retryCount": 0}
    assert {name: event[name] for name in wanted} == wanted
    assert report.event.payload == payload


def test_a_failed_payos_payment_writes_its_event(shop):
    """If a PayOS payment fails, payctl writes a PAYMENT_FAILED event (contract 6.3)."""
    payment = shop.payment("payos")
    shop.process(payment, FAILED)
    assert [event["eventType"] for event in shop.events(payment)] == ["PAYMENT_FAILED"]
    assert shop.row(payment)["failedAt"] is not None


def test_an_order_code_with_underscores_stays_whole(shop):
    """An order code keeps its underscores, because payctl removes only ZaloPay's date prefix (contract 6.14)."""
    payment = shop.payment("zalopay", order_code="TB_ROCK_HN-20261123-A_B_C_1")
    report = shop.process(payment)
    (event,) = shop.events(payment)
    assert event["payload"]["order_code"] == "TB_ROCK_HN-20261123-A_B_C_1"
    assert (report.order_code, shop.receipts()[0]["order_ref"]) == (payment.order_code, payment.order_code)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order[0]))
@pytest.mark.parametrize("provider", ["vnpay", "momo"])
def test_callbacks_in_any_order_give_the_right_events(shop, provider, order):
    """Callbacks can arrive in any order: a success completes the payment, and each change of state writes one event."""
    calls, status, events, alerts = order
    payment = shop.payment(provider)
    reports = [shop.process(payment, call) for call in calls]
    written = shop.events(payment)
    assert shop.row(payment)["status"] == status
    assert "".join(LETTERS[event["eventType"]] for event in written) == events
    assert tuple(report.alert for report in reports) == alerts
    instants = [event["createdAt"] for event in written]
    assert instants == sorted(set(instants))
    assert len(shop.receipts()) == len(calls)


@pytest.mark.parametrize(("scenario", "column"), [(FAILED, "failedAt"), (CANCELLED, "cancelledAt")])
def test_a_later_event_has_a_later_instant(shop, scenario, column):
    """A payment's new event has a later timestamp than its previous event, even if the database's clock is behind."""
    payment = shop.payment("momo")
    shop.process(payment, scenario)
    (future,) = shop.query(
        f'UPDATE payments SET "{column}" = "{column}" + interval \'1 hour\' WHERE id = %s RETURNING "{column}" AS at',  # noqa: S608
        payment.id,
    )
    report = shop.process(payment)
    row = shop.row(payment)
    assert row["completedAt"] == future["at"] + timedelta(milliseconds=1)
    assert shop.events(payment)[-1]["createdAt"] == utc(report.event.payload["completed_at"]) == row["completedAt"]
    assert row[column] == future["at"]


@pytest.mark.parametrize("where", ["database", "role", "url"])
def test_instants_are_utc_in_every_time_zone(shop, database_url, where):
    """`payctl` stores instants in UTC, regardless of the time zone of the database, the role or the connection."""
    name, url = database_url.rpartition("/")[2], database_url
    if where == "database":
        shop.query(f"ALTER DATABASE {name} SET timezone = '{HANOI}'; SELECT 1 AS done")
    elif where == "role":
        shop.query(f"ALTER ROLE postgres IN DATABASE {name} SET timezone = '{HANOI}'; SELECT 1 AS done")
    else:
        url += f"?options=-c%20timezone%3D{HANOI}"
    engine = make_engine(DatabaseSettings(Secret(url)))
    with engine.connect() as connection:
        probe = connection.connection.dbapi_connection.get_parameter_status("TimeZone")
    payment = shop.payment("zalopay")
    report = shop.process(payment, engine=engine)
    engine.dispose()
    (event,), (receipt,) = shop.events(payment), shop.receipts()
    now = shop.now()
    assert probe == HANOI
    assert abs(event["createdAt"].replace(tzinfo=UTC) - now) < timedelta(seconds=30)
    assert abs(receipt["received_at"] - now) < timedelta(seconds=30)
    assert utc(report.event.payload["completed_at"]) == event["createdAt"]


@pytest.mark.parametrize("provider", list(GATEWAYS))
def test_a_dry_run_of_a_callback_shows_everything_and_changes_nothing(shop, provider):
    """A dry run of a callback reports the same change, event and reply as a real run, but does not change a row."""
    payment = shop.payment(provider)
    before = shop.tables()
    report = shop.process(payment, dry_run=True)
    assert shop.tables() == before
    assert (report.dry_run, report.status_before, report.status_after) == (True, "PENDING", "COMPLETED")
    assert (report.event.event_type, report.event.payload["order_code"]) == ("PAYMENT_COMPLETED", payment.order_code)
    real = shop.process(payment)
    assert (real.reply, real.status_after, real.outcome) == (report.reply, report.status_after, report.outcome)


@pytest.mark.parametrize("scenario", [Scenario.WRONG_AMOUNT, Scenario.HELD, Scenario.FAILED, Scenario.BAD_SIGNATURE])
def test_a_dry_run_of_any_other_callback_changes_nothing(shop, scenario):
    """A dry run of a callback changes nothing, even if the callback would only write a receipt."""
    payment = shop.payment("vnpay", status="COMPLETED")
    before = shop.tables()
    assert shop.process(payment, scenario, dry_run=True).dry_run
    assert shop.tables() == before


def test_an_event_s_payload_keeps_awkward_characters(shop):
    """An event's payload keeps non-ASCII characters, quotes and backslashes in the order code."""
    payment = shop.payment("vnpay", order_code='TB-"Đêm"\\{}-🎸')
    shop.process(payment)
    (printed,) = shop.query("SELECT payload::text AS text FROM outbox")
    assert json.loads(printed["text"])["order_code"] == payment.order_code
    assert payment.order_code.replace("\\", "\\\\").replace('"', '\\"') in printed["text"]
