"""Test the sentence, exit code and suggested commands that ``payctl show`` prints for each state of an order."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

pytestmark = pytest.mark.postgres
MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SETTLE = "payctl reconcile payments {order}"
AGAIN = "payctl replay {first} --allow-published"
RELEASE = "payctl publish-outbox --on-dead release"
TOO_LARGE = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"
TIMED_OUT = "INVALID_REQUEST: Broker: Invalid request"

# name: (how to insert the order, exit code, kind of the verdict, beginning of the sentence, commands)
CASES = {
    "a fresh order": (
        lambda o: o.pay(age=3 * MINUTES),
        5, "not_paid", "not paid yet: the order was placed 3 min", []),
    "in progress at the gateway, a few minutes after the order": (
        lambda o: o.pay(age=6 * MINUTES).callback("IGNORED", "ignored", "pending", age=MINUTES),
        5, "in_progress", "not paid yet: MoMo says that the payment is in progress", []),
    "callback never came": (
        lambda o: o.pay(age=2 * HOURS),
        5, "no_callback", "NO TICKET: no genuine callback arrived; the order was placed 2 h ago", [SETTLE]),
    "callback never came, and the order is too old for ZaloPay's status query": (
        lambda o: o.pay(age=3 * DAYS, provider="ZALOPAY"),
        5, "no_callback", "NO TICKET: no genuine callback arrived; the order was placed 3 d ago", []),
    "callback never came, of a gateway that payctl does not know": (
        lambda o: o.pay(age=2 * HOURS, provider="STRIPE"),
        5, "no_callback", "NO TICKET: no genuine callback arrived", []),
    "refused for a wrong amount": (
        lambda o: o.pay().callback("COMPLETED", "refused", "wrong_amount", amount=321_000),
        5, "wrong_amount",
        "NO TICKET: paid 321,000 VND, but the order is for 320,000 VND; callback refused 3 min ago", []),
    "a failure with a wrong amount": (
        lambda o: o.pay().callback("FAILED", "refused", "wrong_amount", amount=1),
        5, "wrong_amount", "NO TICKET: MoMo reports a failed payment of 1 VND; the order is for 320,000 VND", []),
    "refused for a wrong amount, and the amount was corrected since": (
        lambda o: o.pay().callback("COMPLETED", "refused", "wrong_amount", amount=320_000),
        5, "not_applied", "NO TICKET: paid 320,000 VND; the callback was refused 3 min ago, but would be accepted",
        ["payctl process-webhook --receipt {receipt}"]),
    "paid through another gateway": (
        lambda o: o.pay(provider="VNPAY").callback("COMPLETED", "refused", "other_provider"),
        5, "other_provider", "NO TICKET: paid 320,000 VND through MoMo, but the order is for VNPay",
        [SETTLE]),
    "the callback came before the payment": (
        lambda o: o.pay().callback("COMPLETED", "refused", "unknown_order", payment=None),
        5, "not_applied", "NO TICKET: paid 320,000 VND; the callback was refused 3 min ago",
        ["payctl process-webhook --receipt {receipt}"]),
    "malformed callback": (
        lambda o: o.pay().unclear("unreadable"),
        5, "unreadable", "NO TICKET: MoMo sent a genuine callback that payctl cannot read", [SETTLE]),
    "ambiguous callback": (
        lambda o: o.pay().unclear("ambiguous"),
        5, "ambiguous", "NO TICKET: MoMo's callback can be read in two ways", [SETTLE]),
    "money held by the gateway": (
        lambda o: o.pay().callback("IGNORED", "ignored", "held"),
        5, "money_held", "NO TICKET: MoMo received 320,000 VND and blocked it as suspicious", [SETTLE]),
    "an undocumented code": (
        lambda o: o.pay().callback("IGNORED", "ignored", "undocumented_code"),
        5, "undocumented_code", "NO TICKET: MoMo sent an undocumented code", [SETTLE]),
    "in progress at the gateway": (
        lambda o: o.pay().callback("IGNORED", "ignored", "pending"),
        5, "in_progress", "not paid yet: MoMo says that the payment is in progress", [SETTLE]),
    "in progress after a wrong amount": (
        lambda o: o.pay().callback("COMPLETED", "refused", "wrong_amount", amount=5).callback(
            "IGNORED", "ignored", "pending", age=MINUTES),
        5, "wrong_amount", "NO TICKET: paid 5 VND, but the order is for 320,000 VND", []),
    "refunded before it was settled": (
        lambda o: o.pay().callback("IGNORED", "ignored", "refund"),
        5, "refunded", "NO TICKET: MoMo reports a refund", []),
    "a status of a newer payment service": (
        lambda o: o.pay("EXPIRED"),
        5, "unknown_status", "payctl does not recognise the payment's status EXPIRED", []),
    "settled, and the event waits": (
        lambda o: o.pay("COMPLETED", age=MINUTES).callback().event(age=MINUTES),
        5, "waiting", "NO TICKET YET: the event has waited 1 min", ["payctl publish-outbox"]),
    "settled, and the event waits for longer than a running publisher takes": (
        lambda o: o.pay("COMPLETED", age=3 * MINUTES).callback().event(age=3 * MINUTES),
        5, "overdue", "NO TICKET: the event has waited 3 min: no publisher has ever run on this database",
        ["payctl publish-outbox"]),
    "settled, and the event has waited for hours": (
        lambda o: o.pay("COMPLETED").callback().event(age=2 * HOURS),
        5, "overdue", "NO TICKET: the event has waited 2 h: no publisher has ever run on this database",
        ["payctl publish-outbox"]),
    "pending, and its retry is not due": (
        lambda o: o.pay("COMPLETED", age=5 * MINUTES).event(age=timedelta(seconds=20), retries=4, error=TIMED_OUT),
        5, "retrying", "NO TICKET YET: the event failed 4 times (INVALID_REQUEST); next try in", []),
    "pending, tried once, and its retry is due": (
        lambda o: o.pay("COMPLETED", age=MINUTES).event(age=MINUTES, retries=1, error=TIMED_OUT),
        5, "retrying", "NO TICKET YET: the event failed once (INVALID_REQUEST); its next try is due", []),
    "pending, tried, and no publisher tries again": (
        lambda o: o.pay("COMPLETED").event(age=2 * HOURS, retries=2, error=TIMED_OUT),
        5, "overdue", "NO TICKET: the event has waited 2 h: no publisher has ever run", ["payctl publish-outbox"]),
    "blocked behind a dead failure": (
        lambda o: o.pay("COMPLETED", ended={"FAILED": 2 * HOURS}).event("FAILED", "dead", age=2 * HOURS).event(),
        5, "blocked", "NO TICKET: blocked by dead event {first} (PAYMENT_FAILED) of the same payment", [RELEASE]),
    "blocked behind a dead success": (
        lambda o: o.pay("COMPLETED").event(state="dead", age=2 * HOURS, error=TIMED_OUT).event(),
        5, "blocked", "NO TICKET: blocked by dead event {first} (PAYMENT_COMPLETED)", ["payctl replay {first}"]),
    "blocked behind a success that is too large": (
        lambda o: o.pay("COMPLETED").event(state="dead", age=2 * HOURS, error=TOO_LARGE).event(),
        5, "blocked", "NO TICKET: blocked by dead event {first}", [RELEASE]),
    "behind an event that waits for its retry": (
        lambda o: o.pay("COMPLETED", age=MINUTES).event("FAILED", age=20 * MINUTES / 60, retries=4, error=TIMED_OUT)
        .event(age=MINUTES / 6),
        5, "behind",
        "NO TICKET YET: behind event {first} of the same payment; that event failed 4 times; next try in", []),
    "dead after five tries": (
        lambda o: o.pay("COMPLETED").event(state="dead", error=TIMED_OUT),
        5, "dead", "NO TICKET: the event is dead because of INVALID_REQUEST after 5 tries; written 1 h ago",
        ["payctl replay {first}"]),
    "dead, because the message is too large": (
        lambda o: o.pay("COMPLETED").event(state="dead", error=TOO_LARGE),
        5, "dead", "NO TICKET: the event is dead because of MSG_SIZE_TOO_LARGE on the first try; written 1 h ago", []),
    "dead, because the record is invalid": (
        lambda o: o.pay("COMPLETED").event(state="dead", error="INVALID_RECORD: Broker: Broker failed to validate"),
        5, "dead", "NO TICKET: the event is dead because of INVALID_RECORD on the first try", []),
    "dead, and another dead one before it": (
        lambda o: o.pay("COMPLETED").event(state="dead", age=2 * HOURS).event(state="dead"),
        5, "dead", "NO TICKET: the event is dead because of an unknown error after 5 tries",
        ["payctl replay {first} {second}"]),
    "dead, and a superseded dead one before it": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOURS).event(state="dead"),
        5, "dead", "NO TICKET: the event is dead", ["payctl replay {second}", RELEASE]),
    "a failure whose event is dead": (
        lambda o: o.pay("FAILED").event("FAILED", "dead", error=TIMED_OUT),
        5, "dead", "TICKETS STILL RESERVED: the event is dead because of INVALID_REQUEST", ["payctl replay {first}"]),
    "published": (
        lambda o: o.pay("COMPLETED").callback().event(state="published", age=2 * HOURS),
        0, "published", "published 2 h ago", [AGAIN]),
    "published after a superseded failure died": (
        lambda o: o.pay("COMPLETED").event("FAILED", "dead", age=2 * HOURS).event(state="published"),
        0, "published", "published 1 h ago", ["payctl replay {second} --allow-published"]),
    "published twice, the second copy dead": (
        lambda o: o.pay("COMPLETED").event(state="published").event(state="dead", age=MINUTES),
        0, "published", "published 1 h ago", [AGAIN]),
    "a failure that was published after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").event("FAILED", "published", age=MINUTES),
        5, "released_after_success", "NO TICKET: PAYMENT_FAILED was published 1 min ago, after the success", []),
    "failed and told": (
        lambda o: o.pay("FAILED").event("FAILED", "published"),
        0, "ended", "nothing is open: PAYMENT_FAILED was published 1 h ago", []),
    "cancelled and told": (
        lambda o: o.pay("CANCELLED").event("CANCELLED", "published"),
        0, "ended", "nothing is open: PAYMENT_CANCELLED was published 1 h ago", []),
    "failed, and money of a wrong amount came": (
        lambda o: o.pay("FAILED").event("FAILED", "published").callback(
            "COMPLETED", "refused", "wrong_amount", amount=7),
        5, "wrong_amount", "NO TICKET: paid 7 VND, but the order is for 320,000 VND", []),
    "completed without an event": (
        lambda o: o.pay("COMPLETED"),
        5, "no_event", "NO TICKET: COMPLETED 1 h ago, but no event tells the order service", []),
    "cancelled without an event": (
        lambda o: o.pay("CANCELLED"),
        5, "no_event", "CANCELLED 1 h ago, but no event tells the order service", []),
    "a cancellation whose event is dead": (
        lambda o: o.pay("CANCELLED").event("CANCELLED", "dead", error=TIMED_OUT),
        5, "dead", "the event is dead because of INVALID_REQUEST", ["payctl replay {first}"]),
    "published, and cleaned up since": (
        lambda o: o.pay("COMPLETED", age=30 * DAYS).callback(age=30 * DAYS, event="cleaned up"),
        0, "cleaned_up", "COMPLETED 30 d ago; its event was published, and the cleanup has deleted it", []),
    "settled before the retention, by the service that payctl replaces": (
        lambda o: o.pay("COMPLETED", age=30 * DAYS),
        5, "past_retention", "COMPLETED 30 d ago; no event is left, because the cleanup deletes published events", []),
    "late money": (
        lambda o: o.pay("COMPLETED", ended={"FAILED": 2 * HOURS}).event("FAILED", "published", age=2 * HOURS)
        .event(state="published"),
        5, "late_money", "PAID TOO LATE: the money arrived 1 h ago",
        []),
    "second money": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOURS)
        .callback(result="already_settled", number="4712"),
        5, "second_payment", "PAID TWICE: two transfers for one order; the latest callback arrived 3 min ago", []),
    "the same callback twice": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOURS).callback(result="already_settled"),
        0, "published", "published 1 h ago", [AGAIN]),
    "other money for a paid order": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOURS)
        .callback("COMPLETED", "refused", "wrong_amount", amount=9, number="4712"),
        5, "wrong_amount", "paid 9 VND, but the order is for 320,000 VND", []),
    "a failure reported after the success": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOURS)
        .callback("FAILED", "refused", "contradicts_completed"),
        5, "contradicted", "MoMo reported a failure 3 min ago, but the payment is COMPLETED", []),
    "refunded": (
        lambda o: o.pay("COMPLETED").event(state="published").callback(age=HOURS)
        .callback("IGNORED", "ignored", "refund"),
        5, "refunded", "REFUNDED: MoMo reports a refund; callback 3 min ago", []),
    "unreadable at first, settled since": (
        lambda o: o.pay("COMPLETED").event(state="published").unclear("unreadable", age=2 * HOURS).callback(age=HOURS),
        0, "published", "published 1 h ago", [AGAIN]),
    "a callback without a payment": (
        lambda o: o.callback("COMPLETED", "refused", "unknown_order", amount=321_000),
        5, "unknown_order", "NO TICKET: paid 321,000 VND, but this database has no payment for this order", []),
    "a failure without a payment": (
        lambda o: o.callback("FAILED", "refused", "unknown_order"),
        5, "unknown_order", "NO TICKET: MoMo reports an order that this database does not have", []),
    "a malformed callback without a payment": (
        lambda o: o.unclear("unreadable"),
        5, "unreadable", "NO TICKET: MoMo sent a genuine callback that payctl cannot read", []),
    "a failure that came before the payment": (
        lambda o: o.pay().callback("FAILED", "refused", "unknown_order", payment=None),
        5, "not_applied", "NO TICKET: MoMo's callback was refused 3 min ago, but would be accepted now",
        ["payctl process-webhook --receipt {receipt}"]),
    "a test ping": (
        lambda o: o.callback("IGNORED", "test_ping", "ping", amount=None),
        0, "test_ping", "a test call from MoMo, for no order", []),
    "an event without a payment": (
        lambda o: o.event(state="dead", error=TIMED_OUT),
        5, "dead", "NO TICKET: the event is dead because of INVALID_REQUEST", ["payctl replay {first}"]),
    "an event of a type without a topic": (
        lambda o: o.event("?REFUND", "dead", error="UNKNOWN_EVENT_TYPE: no topic is known for this event type"),
        5, "unknown_type", "the event ?REFUND cannot be sent, because payctl does not know this type; written", []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_show_gives_each_state_of_an_order_its_verdict(orders, shown, engine, name):
    """For each state of an order, `payctl show` gives the right verdict, exit code and commands."""
    write, code, kind, text, commands = CASES[name]
    with engine.begin() as connection:
        connection.exec_driver_sql("""ALTER TYPE "PaymentStatus" ADD VALUE IF NOT EXISTS 'EXPIRED'""")
    write(orders)
    seen = shown()
    assert (seen.exit_code, seen.verdict["kind"]) == (code, kind)
    said = re.sub(r"min \d s:", "min:", seen.verdict["text"])  # on a slow machine, an age also has seconds
    assert said.startswith(orders.named(text))
    assert (seen.verdict["mark"] == "good") == (code == 0)
    assert seen.commands == [orders.named(each) for each in commands]
    if code and not commands:
        waits = seen.verdict["kind"] in {"retrying", "behind", "not_paid", "in_progress"}
        assert waits or seen.verdict["todo"], "show prints neither a command nor a task"
