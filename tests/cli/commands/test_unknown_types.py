"""Test that every command says the same about an event of a type that payctl does not know."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.domain.unknown_types import what_to_do
from ticketbottle_payctl.sandbox.payment_service import insert_payment

pytestmark = pytest.mark.postgres
ERROR = "UNKNOWN_EVENT_TYPE: no topic is known for this event type"


@pytest.fixture
def order(engine):
    """Return a function that writes a payment and its events, oldest first. Each event is a type and a state.

    The database rounds times to milliseconds, so the events are five milliseconds apart.
    """

    def write(*events, status="COMPLETED"):
        with engine.begin() as connection:
            payment = insert_payment(connection, status=status)
            completed = """UPDATE payments SET "completedAt" = "createdAt" WHERE status = 'COMPLETED'"""
            connection.execute(text(completed))
            ids = [
                connection.execute(
                    text("""INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, published,
                            "publishedAt", "retryCount", "lastError", "createdAt")
                        VALUES (gen_random_uuid()::text, :payment, 'payment', :type, '{}', :sent,
                            CASE WHEN :sent THEN clock_timestamp() AT TIME ZONE 'UTC' END, :tries, :error,
                            clock_timestamp() AT TIME ZONE 'UTC' - interval '1 minute' + :place * interval '5 ms')
                        RETURNING id"""),
                    {
                        "place": place,
                        "payment": payment.id,
                        "type": event_type,
                        "sent": state == "published",
                        "tries": 5 if state == "dead" else 0,
                        "error": error[0] if error else ERROR if state == "dead" else None,
                    },
                ).scalar_one()
                for place, (event_type, state, *error) in enumerate(events)
            ]
        return SimpleNamespace(code=payment.order_code, ids=ids)

    return write


def texts_of_errors(document):
    """Return the advice of `payctl errors`, after a check that it advises no replay."""
    assert [item["replay"] for item in document["items"]] == [""]
    return [item["todo"] for item in document["items"]]


def texts_of_causes(document):
    """Return the advice of `payctl stats`, after a check that no command changes anything."""
    advice = [cause for cause in document["result"]["causes"] if cause["cause"] == "dead"]
    assert all(cause["command"].startswith("payctl show ") for cause in advice)
    return [cause["advice"] for cause in advice]


def texts_of_show(document):
    """Return what `payctl show` tells the operator to do, after a check that it advises no command."""
    assert document["result"]["next"] == []
    return [document["result"]["verdict"]["todo"]]


# command: (exit code, the texts in its answer)
COMMANDS = {
    "stats": (0, texts_of_causes),
    "doctor --only backlog": (
        5,
        lambda document: [item["remedy"] for item in document["items"] if " is dead: " in item["fact"]],
    ),
    "errors": (0, texts_of_errors),
    "errors --failed": (0, texts_of_errors),
    "show ORDER": (5, texts_of_show),
    "show EVENT": (5, texts_of_show),
    "replay --failed -n": (7, lambda document: document["warnings"]),
    "replay --failed -y": (7, lambda document: document["warnings"]),
    "replay --failed --allow-superseded -y": (7, lambda document: document["warnings"]),
    "replay EVENT -n": (7, lambda document: document["warnings"]),
    "replay EVENT -y": (7, lambda document: document["warnings"]),
    "replay --order-code ORDER -y": (7, lambda document: document["warnings"]),
}
EVENTS = {
    "a dead event": [("payment.refunded", "dead")],
    "a dead event after the success": [("PAYMENT_COMPLETED", "published"), ("NO_SUCH_TYPE", "dead")],
    "a dead event with another error": [("NO_SUCH_TYPE", "dead", "KafkaJSConnectionError: Connection timeout")],
    "a dead event without an error": [("NO_SUCH_TYPE", "dead", None)],
}


@pytest.mark.parametrize("events", EVENTS)
@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_gives_the_same_answer(ask, content, order, line, events):
    """Each command says that a replay does not help, and who must act.

    No command advises a replay, and no command requeues the event.
    """
    made = order(*EVENTS[events])
    code, texts = COMMANDS[line]
    before = content()
    words = [{"ORDER": made.code, "EVENT": made.ids[-1]}.get(word, word) for word in line.split()]
    answer = ask(*words)
    found = texts(answer)
    said = what_to_do([EVENTS[events][-1][0]])
    assert answer["exit_code"] == code
    assert [said in each for each in found] == [True]
    assert content()["public.outbox"] == before["public.outbox"]


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("errors", ["unknown type"]),
        ("replay --failed -n", ["left out", "to do:"]),
        ("show ORDER", ["to do:"]),
        ("stats", ["next:"]),
        ("report", ["Open now"]),
    ],
)
def test_the_answer_is_on_the_screen_for_people(invoke, database_url, order, line, labels):
    """The text for people contains the same answer as the JSON output."""
    made = order(("NO_SUCH_TYPE", "dead"))
    words = [made.code if word == "ORDER" else word for word in line.split()]
    shown = invoke(*words, DATABASE_URL=database_url).stdout
    assert what_to_do(["NO_SUCH_TYPE"]) in shown.replace("`", "")
    assert all(label in shown for label in labels)


@pytest.mark.parametrize(
    ("events", "status", "expected"),
    [
        ([("NO_SUCH_TYPE", "dead")], "COMPLETED", [("unknown_type", "NO TICKET: the event NO_SUCH_TYPE cannot")]),
        ([("NO_SUCH_TYPE", "pending")], "COMPLETED", [("unknown_type", "NO TICKET: the event NO_SUCH_TYPE cannot")]),
        ([("NO_SUCH_TYPE", "dead")], "FAILED",
         [("unknown_type", "TICKETS STILL RESERVED: the event NO_SUCH_TYPE cannot")]),
        ([("NO_SUCH_TYPE", "dead")], "PENDING",
         [("not_paid", "not paid yet"), ("unknown_type", "the event NO_SUCH_TYPE cannot")]),
        ([("PAYMENT_COMPLETED", "pending"), ("NO_SUCH_TYPE", "dead")], "COMPLETED",
         [("waiting", "NO TICKET YET: the event has waited"), ("unknown_type", "the event NO_SUCH_TYPE cannot")]),
        ([("PAYMENT_COMPLETED", "published"), ("NO_SUCH_TYPE", "dead")], "COMPLETED",
         [("unknown_type", "the event NO_SUCH_TYPE cannot"), ("published", "published")]),
        ([("PAYMENT_COMPLETED", "published"), ("NO_SUCH_TYPE", "dead"), ("NO_SUCH_TYPE", "dead"), ("OTHER", "pending")],
         "COMPLETED",
         [("unknown_type", "the event NO_SUCH_TYPE cannot"), ("unknown_type", "the event OTHER cannot"),
          ("published", "published")]),
        ([("PAYMENT_FAILED", "published"), ("NO_SUCH_TYPE", "dead")], "FAILED",
         [("unknown_type", "the event NO_SUCH_TYPE cannot"), ("ended", "PAYMENT_FAILED was published")]),
        ([("NO_SUCH_TYPE", "dead"), ("PAYMENT_COMPLETED", "pending")], "COMPLETED",
         [("blocked", "NO TICKET: blocked by dead event"), ("unknown_type", "the event NO_SUCH_TYPE cannot")]),
        ([("NO_SUCH_TYPE", "published")], "COMPLETED", [("no_event", "NO TICKET: COMPLETED")]),
    ],
)  # fmt: skip
def test_show_reports_each_unknown_type_next_to_the_other_findings(ask, order, events, status, expected):
    """`payctl show` never says that a payment has no event if an unsent event of an unknown type exists."""
    result = ask("show", order(*events, status=status).code)["result"]
    found = [(each["kind"], each["text"]) for each in (result["verdict"], *result["also"])]
    assert [kind for kind, _ in found] == [kind for kind, _ in expected]
    assert all(text.startswith(begin) for (_, text), (_, begin) in zip(found, expected, strict=True))


def test_an_event_behind_an_event_of_an_unknown_type_can_be_released(ask, order):
    """If an event of an unknown type blocks a success event, `payctl show` advises sending the success event."""
    result = ask("show", order(("NO_SUCH_TYPE", "dead"), ("PAYMENT_COMPLETED", "pending")).code)["result"]
    assert [each["command"] for each in result["next"]] == ["payctl publish-outbox --on-dead release"]
    assert what_to_do(["NO_SUCH_TYPE"]) in [each["todo"] for each in result["also"]]


def test_a_replay_requeues_the_other_events_of_a_mixed_group(ask, order):
    """A replay leaves out only the events of unknown types.

    `payctl errors` counts these events, and its replay command selects the other events.
    """
    mixed = [("PAYMENT_COMPLETED", "dead", "TIMED_OUT: x"), ("NO_SUCH_TYPE", "dead", "TIMED_OUT: x")]
    made = order(*mixed)
    (group,) = ask("errors")["items"]
    assert (group["count"], group["unknown"], group["sample_id"]) == (2, 1, made.ids[0])
    assert (group["todo"], group["remedy"]) == (f"for 1 of 2, {what_to_do(['NO_SUCH_TYPE'])}", None)
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "dead"]
    assert cause["command"] == group["replay"] == f"payctl replay --failed --error-group {group['group']}"
    replayed = ask(*group["replay"].split()[1:], "-y")
    assert (replayed["exit_code"], replayed["counts"]["requeued"], replayed["counts"]["skipped"]) == (0, 1, 1)
    assert [(item["id"], item["reason"]) for item in replayed["items"]] == [(made.ids[1], "unknown_type")]
    assert [what_to_do(["NO_SUCH_TYPE"])] == replayed["warnings"]


def test_every_command_counts_the_same_events_that_a_replay_leaves_out(ask, invoke, database_url, engine):
    """`stats`, `doctor`, `errors` and `replay` agree on the events that a replay leaves out of a mixed group."""
    error, minutes = "MSG_SIZE_TOO_LARGE: no", timedelta(minutes=9)
    for more in ({}, {}, {"kind": "?OTHER"}, {"size": 1_100_000, "age": timedelta(seconds=9)}):
        Orders(engine).pay("COMPLETED").event(**{"retries": 5, "error": error, "age": minutes} | more)
    Orders(engine).pay("COMPLETED").event("FAILED", retries=5, error=error).event(age=minutes)
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "dead"]
    said = "3 of 5 are left out of a replay: 1 of an unknown type, 1 superseded, 1 too large"
    assert (cause["events"], said in cause["meaning"], "raise max.message.bytes" in cause["advice"]) == (5, True, True)
    for command in ("stats", "doctor"):
        assert said in invoke(command, DATABASE_URL=database_url).stdout
    (group,) = ask("errors")["items"]
    assert [group[name] for name in ("count", "unknown", "superseded", "too_large")] == [5, 1, 1, 1]
    shown = invoke("errors", DATABASE_URL=database_url).stdout
    advice = "ask the payment service's team to make the payload smaller: the message is at most"
    assert f"too large\t1 of 5: {advice}" in shown
    assert "first\tfor 2 of 5, raise max.message.bytes of payment.completed to" in shown
    assert "to replay\t2 of 5\n" in shown
    assert cause["command"] == group["replay"]
    replayed = ask(*group["replay"].split()[1:], "-y")
    assert (replayed["counts"]["requeued"], replayed["counts"]["skipped"]) == (2, 3)
    reasons = sorted(item["reason"] for item in replayed["items"])
    assert reasons == ["superseded", "too_large", "unknown_type"]


def test_a_named_event_of_an_unknown_type_counts_as_a_failure(ask, order):
    """If the ids name events of a known and of an unknown type, the replay requeues one of them and exits with 6."""
    made = order(("PAYMENT_COMPLETED", "dead", "TIMED_OUT: x"), ("NO_SUCH_TYPE", "dead"))
    replayed = ask("replay", *made.ids, "-y")
    assert (replayed["exit_code"], replayed["counts"]["requeued"]) == (6, 1)


def test_stats_and_doctor_name_a_paid_order_whose_only_event_has_an_unknown_type(ask, order):
    """`stats` and `doctor` count a paid order without a success event, as `report` does, until its success was sent."""
    made = order(("NO_SUCH_TYPE", "dead"))
    order(("PAYMENT_COMPLETED", "published"), ("NO_SUCH_TYPE", "dead"))
    said = f"1 paid order waits for a ticket behind a dead event: {made.ids[0]}"
    causes = ask("stats")["result"]["causes"]
    assert [each["fact"] for each in causes if each["cause"] == "no_ticket"] == [said]
    facts = {each["fact"]: each for each in ask("doctor", "--only", "backlog")["items"]}
    assert (facts[said]["status"], facts[said]["command"]) == ("fail", f"payctl show {made.ids[0]}")
    assert [each["order_code"] for each in ask("report")["result"]["orders"]] == [made.code]


@pytest.mark.parametrize("state", ["dead", "pending"])
def test_the_report_says_which_type_is_unknown(ask, order, state):
    """The report counts a paid order with only an event of an unknown type, and does not say that it has no event."""
    made, other = order(("NO_SUCH_TYPE", state)), order()
    found = {each["order_code"]: (each["kind"], each["why"]) for each in ask("report")["result"]["orders"]}
    assert found == {made.code: ("unknown_type", "NO_SUCH_TYPE"), other.code: ("no_event", None)}


def test_a_corrected_event_can_be_replayed(ask, engine, order):
    """After the payment service's team has corrected the event's type, a replay requeues the event."""
    made = order(("NO_SUCH_TYPE", "dead"))
    with engine.begin() as connection:
        connection.execute(text("""UPDATE outbox SET "eventType" = 'PAYMENT_COMPLETED'"""))
    assert ask("replay", made.ids[0], "-y")["counts"]["requeued"] == 1


RELEASE = "payctl publish-outbox --on-dead release"
TIMEOUT = "TIMED_OUT: no answer"


@pytest.mark.parametrize(
    ("events", "number", "commands"),
    [
        ([("NO_SUCH_TYPE", "dead"), ("PAYMENT_COMPLETED", "pending")], 1, []),
        ([("PAYMENT_COMPLETED", "dead", TIMEOUT), ("PAYMENT_COMPLETED", "pending")], 1, ["replay"]),
        ([("PAYMENT_FAILED", "dead", TIMEOUT), ("PAYMENT_COMPLETED", "pending")], 1, ["release"]),
        ([("PAYMENT_COMPLETED", "pending"), ("NO_SUCH_TYPE", "dead")], 0, []),
        ([("PAYMENT_COMPLETED", "dead", TIMEOUT)], 0, ["replay"]),
    ],
)  # fmt: skip
def test_errors_say_which_events_wait_behind_dead_ones(
    ask, invoke, database_url, engine, order, events, number, commands
):
    """`errors` says which events wait behind each group, and how to send them if the whole group is superseded."""
    made = order(*events)
    with engine.begin() as connection:  # the events of one transaction are less than a millisecond apart
        later = """UPDATE outbox SET "createdAt" = "createdAt" + interval '1 second' WHERE id = %(id)s"""
        connection.exec_driver_sql(later, {"id": made.ids[-1]})
    (item,) = ask("errors")["items"]
    assert item["blocks"] == number
    rows = dict(
        line.split("\t") for line in invoke("errors", DATABASE_URL=database_url).stdout.splitlines() if "\t" in line
    )
    assert ("the later events of 1 payment" in rows["blocks"]) == bool(number)
    assert [name for name in ("replay", "release") if name in rows] == commands
    assert rows.get("release", RELEASE) == RELEASE
