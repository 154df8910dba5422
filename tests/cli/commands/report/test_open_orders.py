"""Test that the report lists customers without a ticket, refused payments and dead events as open."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payment, insert_payments_of_events
from ticketbottle_payctl.store.payments.open_orders import refused, unpublished


def test_the_report_opens_with_the_customers_who_have_no_ticket(asked, told):
    """The report starts with the number of customers without a ticket, and lists their orders."""
    result = asked["result"]
    assert result["verdict"].startswith(
        "11 customers paid, or may have paid, and have no ticket (2,720,000 VND). 2 paid orders have no"
    )
    assert (result["customers_without_ticket"], len(result["orders"]), result["quiet"]) == (11, 11, False)
    kinds = [order["kind"] for order in result["orders"]]
    expected = {"dead": 4, "pending": 2, "no_event": 1, "unknown_type": 1, "refused": 3}
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    assert told.lost in {order["id"] for order in result["orders"]}


def test_the_first_line_names_payments_that_only_a_gateway_knows(engine, ask, invoke, database_url, tmp_path):
    """If a payment in the window has been PENDING for too long, the report's first line says so in every format."""
    with engine.begin() as connection:
        insert_payment(connection, age=timedelta(hours=1))
    said = "1 payment is overdue and may have been paid: ask the gateway with payctl reconcile payments."
    report = ask("report", "--since", "2h")["result"]
    assert (report["verdict"].endswith(said), report["quiet"]) == (True, False)
    first = invoke("report", "--since", "2h", DATABASE_URL=database_url).stdout.splitlines()[0]
    assert (first[:4], said in first) == ("# ! ", True)
    page = tmp_path / "report.html"
    written = invoke("report", "--since", "2h", "--html", str(page), DATABASE_URL=database_url).stdout
    assert (written.lstrip()[0], said in " ".join(written.split())) == ("!", True)
    assert said in re.search("<h1>(.*?)</h1>", page.read_text("utf-8")).group(1)


ASK = "ask the gateway with payctl reconcile payments"
PORTAL = "look in the gateway's portal"
RECORD = "then record what you found with payctl close"


@pytest.mark.parametrize(
    ("hours", "verdict", "told", "asks"),
    [
        ((49,), f"1 payment is overdue and may have been paid: {PORTAL}, because it is too old for its status query.",
         f"It is too old for the gateway's status query: {PORTAL}, {RECORD}.", False),
        ((49, 72), f"{PORTAL}, because they are too old for its status query.",
         f"They are too old for the gateway's status query: {PORTAL}, {RECORD}.", False),
        ((1, 2, 49), f"{ASK}, or {PORTAL} for the one that is too old for its status query.",
         f"One of them is too old for the gateway's status query: {PORTAL}, {RECORD}.", True),
        ((1, 49, 72), f"{ASK}, or {PORTAL} for the 2 that are too old for its status query.",
         f"2 of them are too old for the gateway's status query: {PORTAL}, {RECORD}.", True),
    ],
    ids=["one too old", "all too old", "one of three", "two of three"],
)  # fmt: skip
def test_the_report_refers_to_the_portal_for_payments_that_the_gateway_no_longer_answers_about(
    hours, verdict, told, asks, engine, ask, invoke, terminal, database_url
):
    """ZaloPay answers queries for 48 hours. For older payments, the report names ZaloPay's portal, not a command."""
    with engine.begin() as connection:
        for age in hours:
            insert_payment(connection, provider="ZALOPAY", age=timedelta(hours=age))
    assert ask("report", "--since", "4d")["result"]["verdict"].endswith(verdict)
    text = invoke("report", "--since", "4d", DATABASE_URL=database_url).stdout
    opened = text[text.index("## Open now") : text.index("## What happened")]
    assert (told in opened, "payctl reconcile payments -n" in opened) == (True, asks)
    with terminal("report", "--since", "4d", lines=400, DATABASE_URL=database_url, TZ="UTC") as it:
        it.finish()
        shown = it.text()
    section = " ".join(shown[shown.index("\nAsk the gateways") : shown.index("\nfigure ")].split())
    assert (told.rstrip(".") in section, "payctl reconcile payments -n" in section) == (True, asks)


def test_the_first_line_leaves_out_payments_that_a_callback_explains(story, ask):
    """The report's first line leaves out overdue payments that a callback explains or that a person has closed.

    The figure `payments_overdue` still counts every overdue payment.
    """
    made = [story.payment(30, "PENDING") for _ in range(7)]
    refused, by_code, by_reference, held, closed, in_progress, _ = made
    code = "TB-NIGHT-2"
    story.receipt(31, "refused", reason="wrong_amount", payment=refused, code="a")
    story.receipt(31, "refused", "UNCLEAR", reason="unreadable", code=code)
    story.receipt(31, "refused", reason="unknown_order", code=by_reference)
    story.receipt(31, "ignored", "IGNORED", reason="held", payment=held, code="b")
    story.receipt(31, "ignored", "IGNORED", reason="pending", payment=in_progress, code="c")
    earlier = story.receipt(90, "refused", reason="wrong_amount", payment=closed, code="d")
    story.connection.exec_driver_sql(
        "INSERT INTO payctl.run_items (run_id, chunk, place, item_id, outcome, before, after) VALUES"
        " (gen_random_uuid(), 0, 0, %(id)s, 'closed', jsonb_build_object('receipt', %(receipt)s),"
        " jsonb_build_object('until', now()))",
        {"id": closed, "receipt": earlier},
    )
    assert (
        story.connection.exec_driver_sql(
            'SELECT id FROM payments WHERE "orderCode" = %(code)s', {"code": code}
        ).scalar_one()
        == by_code
    )
    story.connection.commit()
    document = ask("report", "--since", rfc3339(story.at(0)), "--until", rfc3339(story.at(60)))
    figures = {each["name"]: each["value"] for each in document["items"]}
    assert figures["payments_overdue"] == 7
    labels = {each["name"]: each["label"] for each in document["items"]}
    assert labels["payments_overdue"].endswith("including those that a person has closed")
    assert "2 payments are overdue and may have been paid" in document["result"]["verdict"]


def test_an_order_with_an_unknown_amount_adds_nothing_to_the_sum(story):
    """In the report, an order without a payment or amount adds nothing to the total amount."""
    story.event(1, tries=5, payment="none")
    story.receipt(2, "refused", "UNCLEAR", reason="unreadable")
    story.connection.exec_driver_sql("UPDATE payctl.webhook_receipts SET amount = NULL")
    window = (story.at(0), story.at(10))
    found = [unpublished(story.connection, 5), refused(story.connection, *window)]
    assert [(orders.number, orders.amount, orders.oldest[0].amount) for orders in found] == [(1, 0, None)] * 2


def test_an_error_from_before_a_replay_is_not_shown_as_the_reason(story):
    """The report leaves out the stored error of an event that was requeued and has not been tried again."""
    requeued, tried = story.event(5, error="INVALID_REQUEST: x"), story.event(6, tries=1, error="TIMED_OUT: y")
    found = unpublished(story.connection, 5)
    assert {each.id: each.why for each in found.oldest} == {requeued: None, tried: "TIMED_OUT: y"}


def test_refused_orders_are_listed_from_the_oldest(story):
    """The report's list of refused orders starts with the order that has waited longest."""
    made = [story.receipt(minute, "refused", reason="unknown_order") for minute in (1, 3, 2)]
    found = refused(story.connection, story.at(0), story.at(10))
    assert [order.id for order in found.oldest] == [made[0], made[2], made[1]]


def test_an_empty_window_says_that_nothing_is_open(ask, invoke, database_url):
    """If the tables are empty, the report says that nothing is open, and exits with 0."""
    document = ask("report", "--since", "1h")
    assert (document["exit_code"], document["result"]["quiet"]) == (0, True)
    assert {item["value"] for item in document["items"]} == {0, None}
    shown = invoke("report", "--since", "1h", DATABASE_URL=database_url)
    assert shown.stdout.splitlines()[0] == (
        "# ✔ Nothing is open: each paid order has its event, no event is waiting, and no event is dead."
    )
    assert "No runs are recorded." in shown.stdout


@pytest.mark.parametrize(("type_of_later", "harm"), [(None, ", superseded: harmless"), ("PAYMENT_COMPLETED", "")])
def test_the_report_and_stats_say_the_same_about_superseded_events(engine, invoke, database_url, type_of_later, harm):
    """The report and `payctl stats` agree on whether a superseded dead event is harmless."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED", last_error="x", age=timedelta(hours=1))
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
        if type_of_later:
            insert_events(connection, 1, event_type=type_of_later)
            connection.exec_driver_sql('UPDATE outbox SET "aggregateId" = (SELECT id FROM payments)')
    said = [
        invoke(*command, DATABASE_URL=database_url).stdout.splitlines()[0]
        for command in (("report", "--since", "2h"), ("stats",))
    ]
    assert f"1 event is dead{harm}." in said[0]
    assert [line.partition("!")[0].strip("# ") for line in said] == ["", ""]
    assert ("superseded: harmless" in said[0], "superseded: harmless" in said[1]) == (bool(harm), bool(harm))


@pytest.mark.parametrize(
    ("superseded", "pending", "words"),
    [
        (0, 0, "2 dead events, group"),
        (1, 0, "2 dead events, 1 superseded, group"),
        (2, 0, "2 dead events, superseded: harmless, group"),
        (2, 1, "2 dead events, superseded, group"),
    ],
)
def test_open_now_says_which_dead_events_are_superseded(engine, invoke, ask, database_url, superseded, pending, words):
    """The report says which dead events are superseded.

    The report suggests the command that explains waiting events only if an event is waiting.
    """
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", event_type="PAYMENT_FAILED", last_error="x", age=timedelta(hours=1))
        insert_payments_of_events(connection)
        connection.exec_driver_sql(
            "UPDATE payments SET status = 'COMPLETED' WHERE id IN (SELECT id FROM payments ORDER BY id LIMIT %(n)s)",
            {"n": superseded},
        )
        insert_events(connection, pending)
        connection.exec_driver_sql(
            'UPDATE outbox SET "aggregateId" = (SELECT min(id) FROM payments) WHERE NOT "retryCount" > 0'
        )
    text = invoke("report", "--since", "2h", DATABASE_URL=database_url).stdout
    assert f"* {words} " in text
    assert ("Why events wait" in text) is bool(pending)
    (group,) = ask("report", "--since", "2h")["result"]["dead_groups"]
    assert (group["dead"], group["superseded"]) == (2, superseded)
