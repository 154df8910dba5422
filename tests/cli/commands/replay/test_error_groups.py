"""Test that a replay can requeue exactly the events that ``payctl errors`` counts."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta

import pytest

from tests.cli.commands.replay.conftest import pending
from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events

pytestmark = pytest.mark.postgres


@pytest.mark.usefixtures("dead")
def test_an_error_group_leads_from_errors_to_replay(ask, engine):
    """The replay command that `payctl errors` prints for an error group selects exactly the counted events."""
    group = ask("errors", "--type", "PAYMENT_COMPLETED")["items"][0]
    assert (group["count"], group["pattern"]) == (3, "Connection timeout to #:#")
    document = ask(*group["replay"].split()[1:], "-y")
    assert (document["counts"]["requeued"], pending(engine)) == (3, 3)
    assert [left["pattern"] for left in ask("errors")["items"]] == ["x"]


@pytest.mark.usefixtures("dead")
def test_errors_and_stats_advise_the_same_replay_of_dead_events(ask):
    """`payctl errors`, `payctl stats` and `payctl doctor` suggest the same command for the same dead events."""
    group = ask("errors", "--type", "PAYMENT_COMPLETED")["items"][0]
    told = group["replay"].replace(" --type PAYMENT_COMPLETED", "")
    assert told == f"payctl replay --failed --error-group {group['group']}"
    assert told in [cause["command"] for cause in ask("stats")["result"]["causes"]]
    assert told in [finding["command"] for finding in ask("doctor", "--only", "backlog")["items"]]


FAILED_ONCE = {"tried", "dead", "failed", "vnpay", "old"}


@pytest.mark.parametrize(
    ("error", "selectors", "expected"),
    [
        ("no 'answer' from 10.0.0.1", [], FAILED_ONCE),
        ("no 'answer' from 10.0.0.1", ["--failed"], FAILED_ONCE - {"tried"}),
        ("no 'answer' from 10.0.0.1", ["--type", "PAYMENT_FAILED", "--type", "it's odd"], {"failed"}),
        ("no 'answer' from 10.0.0.1", ["--provider", "vn-pay"], {"vnpay"}),
        ("no 'answer' from 10.0.0.1", ["--since", "90m"], FAILED_ONCE - {"old"}),
        ("no 'answer' from 10.0.0.1", ["--until", "90m ago"], {"old"}),
        ("no 'answer' from 10.0.0.1", ["--error", "^no 'answer' "], FAILED_ONCE),
        (None, [], FAILED_ONCE),
        (None, ["--failed"], FAILED_ONCE - {"tried"}),
    ],
)
def test_the_advised_replay_selects_only_the_counted_events(ask, engine, selectors, expected, error):
    """The replay that `payctl errors` suggests keeps the given selectors and requeues exactly the counted events."""
    names = {}
    with engine.begin() as connection:
        for name, what in (
            ("healthy", {}),
            ("replayed", {"last_error": error}),
            ("tried", {"retry_count": 2, "last_error": error}),
            ("dead", {"retry_count": 5, "last_error": error}),
            ("failed", {"retry_count": 5, "last_error": error, "event_type": "PAYMENT_FAILED"}),
            ("vnpay", {"retry_count": 5, "last_error": error}),
            ("old", {"retry_count": 5, "last_error": error, "age": timedelta(hours=2)}),
        ):
            insert_events(connection, 1, **what)
            new = "SELECT id FROM outbox WHERE id <> ALL(%(known)s)"
            names[connection.exec_driver_sql(new, {"known": list(names)}).scalar_one()] = name
        insert_payments_of_events(connection)
        of_event = """(SELECT "aggregateId" FROM outbox WHERE id = %(id)s)"""
        connection.exec_driver_sql(
            f"UPDATE payments SET provider = 'VNPAY' WHERE id = {of_event}",  # noqa: S608
            {"id": next(event for event, name in names.items() if name == "vnpay")},
        )
    (group,) = ask("errors", *selectors)["items"]
    document = ask(*shlex.split(group["replay"])[1:], "-y")
    assert (group["count"], document["counts"]["requeued"]) == (len(expected), len(expected))
    items = ask("runs", "show", document["run_id"])["items"]
    assert {names[item["id"]] for item in items} == expected


def test_errors_advise_a_repair_before_a_replay_that_would_fail_again(ask, invoke, database_url, engine):
    """If a message is too large, `payctl errors` says to raise the topic's size limit before the replay."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", last_error="MSG_SIZE_TOO_LARGE: Broker: Message size too large")
        insert_payments_of_events(connection)
    (group,) = ask("errors")["items"]
    assert group["remedy"] == "raise_topic_limit"
    lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
    first = next(
        number for number, line in enumerate(lines) if line.startswith("first\traise max.message.bytes of paym")
    )
    assert "first" not in lines[first].removeprefix("first")
    assert lines[first + 1].startswith("replay\tpayctl replay --failed --error-group")


def test_a_group_that_is_too_large_for_payctl_has_no_replay_command(invoke, database_url, engine):
    """If events exceed payctl's own size limit, `payctl errors` does not suggest a replay.

    No topic setting would help.
    """
    error = "MSG_SIZE_TOO_LARGE: Unable to produce message: Broker: Message size too large"
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error=error, payload_bytes=1_000_000)
        insert_payments_of_events(connection)
    shown = invoke("errors", DATABASE_URL=database_url).stdout
    told = "first\task the payment service's team to make the payload smaller" in shown
    assert (told, "payctl replay" in shown) == (True, False), shown


def test_a_message_that_is_smaller_now_has_a_replay_without_a_repair(ask, invoke, database_url, engine):
    """If payctl's own limit refused a message that is smaller now, `errors` and `stats` advise a replay at once."""
    error = "MSG_SIZE_TOO_LARGE: Unable to produce message: Broker: Message size too large"
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error=error)
        insert_payments_of_events(connection)
    (group,) = ask("errors")["items"]
    assert (group["remedy"], group["todo"]) == (None, None)
    assert (
        "\nfirst\tnothing, because the message is smaller now\n" in invoke("errors", DATABASE_URL=database_url).stdout
    )
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "dead"]
    assert cause["advice"] == "the message is smaller now, so requeue the event"
    assert cause["command"] == group["replay"]
    assert ask(*shlex.split(group["replay"])[1:], "-y")["counts"]["requeued"] == 1


@pytest.mark.parametrize(
    ("superseded", "waits", "shown"),
    [(2, True, {"blocks", "release"}), (2, False, {"blocks"}), (1, True, {"replay", "then", "blocks"})],
    ids=["all, one blocks", "all, none blocks", "some"],
)
def test_errors_count_the_superseded_events_of_a_group(ask, invoke, database_url, engine, superseded, waits, shown):
    """`payctl errors` counts the superseded events in a group.

    `payctl errors` says whether the dead events block other events. If all events in the group are superseded, it does
    not suggest a replay. In the document, the replay command is empty. If only some events are superseded, it suggests
    the replay first and the release second.
    """
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", event_type="PAYMENT_FAILED", last_error="x")
        insert_payments_of_events(connection)
        some = "SELECT id FROM payments LIMIT %(n)s"
        connection.exec_driver_sql(
            f"UPDATE payments SET status = 'COMPLETED' WHERE id IN ({some})",  # noqa: S608 - a constant
            {"n": superseded},
        )
        if waits:
            insert_events(connection, 1)
            connection.exec_driver_sql("""
                UPDATE outbox SET "aggregateId" = (SELECT min(id) FROM payments WHERE status::text = 'COMPLETED')
                WHERE "retryCount" = 0""")
    (group,) = ask("errors")["items"]
    assert (group["superseded"], group["blocking"]) == (superseded, int(waits))
    assert bool(group["replay"]) is (superseded < 2)
    rows = dict(
        line.split("\t", 1)
        for line in invoke("errors", DATABASE_URL=database_url).stdout.splitlines()[2:]
        if "\t" in line
    )
    assert ({"replay", "then", "blocks", "release"} & set(rows), rows["superseded"][:6]) == (
        shown,
        f"{superseded} of 2",
    )
    release = "payctl publish-outbox --on-dead release" if waits else ""
    assert group["release"] == rows.get("then", rows.get("release", "")) == release
    if "blocks" in shown:
        assert rows["blocks"].startswith("the later events of 1 payment" if waits else "nothing")


def test_a_group_with_messages_of_several_sizes_has_a_replay_for_those_that_payctl_sends(
    ask, invoke, database_url, engine
):
    """`payctl errors` says how many events are too large for payctl. The suggested replay requeues the others."""
    with engine.begin() as connection:
        for age, size in ((1, 1_100_000), (2, 5_000), (3, 6_000)):
            error = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"
            more = {"age": timedelta(hours=age), "payload_bytes": size, "last_error": error}
            insert_events(connection, 1, state="dead", **more)
        insert_payments_of_events(connection)
    (group,) = ask("errors")["items"]
    assert (group["count"], group["too_large"], group["remedy"]) == (3, 1, "raise_topic_limit")
    lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
    (large,) = [each for each in lines if each.startswith("too large\t")]
    assert large.startswith(
        "too large\t1 of 3: ask the payment service's team to make the payload smaller: the message "
    )
    (first,) = [each for each in lines if each.startswith("first\t")]
    assert first.startswith("first\tfor 2 of 3, raise max.message.bytes of payment.completed to 6,5")
    (cause,) = [each for each in ask("stats")["result"]["causes"] if each["cause"] == "dead"]
    assert cause["advice"].startswith(
        "1 of 3 is larger than the 1,000,000 bytes that payctl sends; for the others, raise"
    )
    assert cause["command"] == group["replay"]
    document = ask(*shlex.split(group["replay"])[1:], "-y")
    assert (document["counts"]["requeued"], document["counts"]["skipped"]) == (2, 1)
    (left,) = ask("errors")["items"]
    assert (left["count"], left["too_large"], left["replay"]) == (1, 1, "")


def test_a_mixed_group_says_which_step_is_for_how_many_events(ask, invoke, database_url, engine):
    """`payctl errors` names one step for each part of a mixed group, with the number of events and the largest size."""
    error = {"retries": 5, "error": "MSG_SIZE_TOO_LARGE: Broker: Message size too large"}
    hours = [timedelta(hours=each) for each in range(6)]
    Orders(engine).pay("COMPLETED").event("FAILED", **error, size=9_000, age=hours[5]).event(age=hours[4])
    Orders(engine).pay("COMPLETED").event("FAILED", **error, size=9_000, age=hours[5])
    for size, age in ((1_200_000, hours[3]), (1_100_000, hours[2]), (7_000, hours[2]), (5_000, hours[1])):
        Orders(engine).pay("COMPLETED").event(**error, size=size, age=age)
    (group,) = ask("errors")["items"]
    large, small = group["todo"].split("; for 2 of 6, ")
    assert large.startswith(
        "for 2 of 6, ask the payment service's team to make the payload smaller: the largest message"
    )
    assert re.search(r"is at most 1,200,\d{3} bytes long, .*; until then, a replay leaves the events out$", large)
    assert re.match(r"raise max.message.bytes of payment.completed to 7,\d{3} or more, because the largest mes", small)
    rows = dict(
        line.split("\t", 1)
        for line in invoke("errors", DATABASE_URL=database_url).stdout.splitlines()[2:]
        if "\t" in line
    )
    assert rows["superseded"] == "2 of 6: a replay leaves them out, because the customers have paid"
    assert rows["to release"] == "the events behind 1 of 6"
    assert rows["too large"].startswith("2 of 6: ask the payment service's team to make the payload smaller: the larg")
    assert (rows["first"], rows["to replay"]) == (f"for 2 of 6, {small}", "2 of 6")
    assert ask(*shlex.split(rows["replay"])[1:], "-y")["counts"]["requeued"] == 2


def test_a_group_with_several_types_says_how_many_events_have_each_type(ask, invoke, database_url, engine):
    """If a group has several types, `payctl errors` counts the events of each type, and names each type's topic."""
    with engine.begin() as connection:
        for event_type, number in (("PAYMENT_COMPLETED", 1), ("PAYMENT_FAILED", 3)):
            insert_events(connection, number, state="dead", event_type=event_type, last_error="MSG_SIZE_TOO_LARGE: no")
    (group,) = ask("errors")["items"]
    assert (group["event_types"], group["by_type"]) == (
        ["PAYMENT_COMPLETED", "PAYMENT_FAILED"],
        {"PAYMENT_FAILED": 3, "PAYMENT_COMPLETED": 1},
    )
    assert group["todo"].startswith("raise max.message.bytes of payment.completed, payment.failed to ")
    assert " or more, because the largest message is at most " in group["todo"]
    lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
    assert "types\tPAYMENT_FAILED (3), PAYMENT_COMPLETED (1)" in lines
    lines = invoke("errors", "--type", "PAYMENT_FAILED", DATABASE_URL=database_url).stdout.splitlines()
    assert "types\tPAYMENT_FAILED" in lines


def test_the_sample_of_a_mixed_group_is_not_superseded(ask, invoke, database_url, engine):
    """If only some events in a group are superseded, `payctl errors` shows a sample event that is not superseded.

    The sample is the event that needs the operator's attention, even if a superseded event is newer. The first line
    is marked `!`.
    """
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead", last_error="x 1", age=timedelta(hours=2))
        (wanted,) = connection.exec_driver_sql("SELECT id FROM outbox").scalars()
        insert_events(connection, 1, state="dead", event_type="PAYMENT_FAILED", last_error="x 2")
        insert_payments_of_events(connection)
        connection.exec_driver_sql("UPDATE payments SET status = 'COMPLETED'")
    (group,) = ask("errors")["items"]
    assert (group["count"], group["superseded"]) == (2, 1)
    assert (group["sample_id"], group["sample"]) == (wanted, "x 1")
    lines = invoke("errors", DATABASE_URL=database_url).stdout.splitlines()
    assert lines[0] == "!  2 events  1 kind of error"
    assert f"event\tpayctl show {wanted}" in lines


def test_the_advised_replay_of_a_large_group_has_its_max_affected(ask, engine):
    """If an error group has more events than the limit, the suggested replay includes a sufficient --max-affected."""
    with engine.begin() as connection:
        insert_events(connection, 1001, state="dead", last_error="x")
    (group,) = ask("errors")["items"]
    assert "--max-affected 1001" in group["replay"]
    assert ask(*shlex.split(group["replay"])[1:], "-y")["counts"]["requeued"] == 1001
