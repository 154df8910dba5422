"""Test the sentences, the advice and the command of each cause."""

from __future__ import annotations

import pytest

from tests.domain.evidence import (
    ANSWERED,
    AWAY,
    BLOCKED,
    FAILING,
    GONE,
    IDLES,
    LATE,
    LOCKED,
    NO_TOPIC,
    NOT_DUE,
    NOT_LOCKED,
    OTHER,
    READY,
    SUPERSEDED,
    TOO_LARGE,
    WORKS,
    YOUNG,
    seen,
    typed,
)
from ticketbottle_payctl.domain.causes import (
    Brokers,
    Holder,
    causes,
)

THREE = "3 events are waiting"


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (seen(READY, publishers=[GONE]), "no publisher has been seen for 12 min; the last one was host:12"),
        (seen(READY), "no publisher has ever run"),
        (seen(READY, publishers=[IDLES]), "3 events have waited for up to 3 min, and no known cause"),
        (seen(READY, publishers=[IDLES], sampled=True), "at least 3 events have waited for up to 3 min"),
        (seen(READY._replace(events=1, requeued_s=40.2), publishers=[IDLES]),
         "1 event, written 3 min ago, has waited for 40.2 s since its replay, and no known cause"),
        (seen(READY._replace(requeued_s=40.2), YOUNG, publishers=[IDLES]),
         f"{THREE} (the oldest, written 3 min ago, has waited for 40.2 s since its replay), and no known cause"),
        (seen(READY, publishers_known=False), "this role cannot see when the last one ran"),
        (seen(LOCKED), "1 event is locked by pid 4711, psql as minh, idle in transaction, for 1 min 30 s"),
        (seen(BLOCKED, dead=1), "event e5 waits behind dead event d1 of its payment"),
        (
            seen(BLOCKED, dead=1, blocked=40),
            "40 events wait behind a dead event of their payment; for example, e5 waits behind d1",
        ),
        (seen(NOT_DUE, publishers=[IDLES]), "waits for the next retry in 1 min 35 s"),
        (seen(READY, publishers=[IDLES, OTHER]), "PAYCTL_SHARDS: 1 (host:12) and 4 (host:99)"),
    ],
)  # fmt: skip
def test_a_cause_names_the_process_and_the_time(evidence, words):
    """The sentence about a cause names the event ids, the process, its application and the time."""
    assert words in " | ".join(cause.fact for cause in causes(evidence, ANSWERED))


@pytest.mark.parametrize(
    ("evidence", "brokers", "sentences", "command"),
    [
        (seen(READY, publishers=[GONE]), ANSWERED,
         ["no publisher has been seen for 12 min; the last one was host:12",
          "3 events have waited for up to 3 min. Nothing is lost: a publisher sends all waiting events when it runs",
          "start the publisher again; until then, publish by hand"], ("payctl publish-outbox", True, 1)),
        (seen(slot_active=False), ANSWERED,
         ["Debezium is publishing this outbox, but no connector reads its slot",
          "no event is published until the connector runs; payctl's publishers refuse to run",
          "start the connector, or take the outbox back"], ("payctl cdc cut-back", True, 1)),
        (seen(READY, slot_active=False), ANSWERED,
         ["Debezium is publishing this outbox, but no connector reads its slot",
          "no event is published until the connector runs; payctl's publishers refuse to run",
          "start the connector, or take the outbox back"], ("payctl cdc cut-back", True, 3)),
        (seen(READY, slot_active=True), ANSWERED,
         ["Debezium is publishing this outbox; 3 events have waited for up to 3 min to be marked as published",
          "payctl's publishers send nothing; a scheduled `payctl cdc mark` marks the events that are in Kafka",
          None], ("payctl cdc mark", True, 1)),
        (seen(READY, table_locks=[Holder(None, None, None, None, None)], publishers=[IDLES]), ANSWERED,
         ["the outbox table is locked by a prepared transaction",
          "no event can be claimed, and no callback can be settled, until its transaction ends",
          "find it in pg_prepared_xacts; its owner must commit it or roll it back"], None),
        (seen(LOCKED._replace(events=2, holder=Holder(9, None, None, None, None)), publishers=[IDLES]), ANSWERED,
         ["2 events are locked by pid 9, unnamed",
          "the oldest is e4; publishers skip locked rows and try them again later",
          "ask its owner to end it, or in psql", "SELECT pg_terminate_backend(9)"], None),
        (seen(dead=2, dead_groups=[TOO_LARGE._replace(events=2, error=None)]), ANSWERED,
         ["2 events are dead: no error was recorded",
          "publishers never send dead events",
          "remove the cause, then"], ("payctl replay --failed --error-group 0a1b2c3d", True, 2)),
        (seen(dead=1, dead_groups=[TOO_LARGE._replace(error="INVALID_REQUEST: no")]), ANSWERED,
         ["1 event is dead: INVALID_REQUEST: no",
          "publishers never send dead events",
          "remove the cause, then"], ("payctl replay --failed --error-group 0a1b2c3d", True, 1)),
        (seen(dead=2), ANSWERED,
         ["2 more dead events with other errors", "publishers never send dead events", None],
         ("payctl errors", False, 1)),
        (seen(SUPERSEDED, blocked=1), ANSWERED,
         ["event e5 waits behind dead event d1 of its payment",
          "a later success supersedes the dead PAYMENT_FAILED: do not replay it",
          "skip the dead failure and send the success"], ("payctl publish-outbox --on-dead release", True, 1)),
        (seen(BLOCKED, blocked=1), ANSWERED,
         ["event e5 waits behind dead event d1 of its payment",
          "an event is sent only after the earlier events of its payment", "resolve the dead event first"],
         ("payctl show d1", False, 1)),
        (seen(FAILING._replace(error=None, events=1), publishers=[IDLES]), ANSWERED,
         ["1 event has waited for 3 min, and failed: no error was recorded",
          "the oldest is e2; the publisher tries it again until it is out of retries", "look at its payment"],
         ("payctl show e2", False, 1)),
        (seen(NOT_DUE._replace(events=2, error=None, due_in_s=-3.0), publishers=[IDLES]), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e3: none was recorded", None],
         ("payctl show e3", False, 1)),
        (seen(NOT_DUE._replace(due_in_s=0.4, id="e9"), NOT_DUE._replace(due_in_s=None)), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e3: INVALID_REQUEST: no", None],
         ("payctl show e3", False, 1)),
        (seen(NOT_DUE._replace(due_in_s=-0.5, id="e9"), NOT_DUE._replace(due_in_s=None)), ANSWERED,
         ["2 events failed and wait for the next retry in 0 ms", "the last error of e9: INVALID_REQUEST: no", None],
         ("payctl show e9", False, 1)),
        (seen(READY, publishers=[WORKS]), ANSWERED,
         ["3 events have waited for up to 3 min; a publisher is working through them",
          "events are sent in order of creation; check that the backlog is shrinking", None],
         ("payctl stats --watch", False, 1)),
        (seen(READY, publishers=[IDLES]), ANSWERED,
         ["3 events have waited for up to 3 min, and no known cause was found",
          "host:12 was seen 20 s ago, its topics accept messages, and no row lock or dead event is in the way",
          "read the publisher's log; the oldest event is"], ("payctl show e1", False, 1)),
        (seen(READY, publishers=[IDLES._replace(ended=True)]), Brokers(not_asked="no"),
         ["3 events have waited for up to 3 min, and no known cause was found",
          f"host:12 ended 20 s ago without sending the events, the brokers were not asked: no, {NOT_LOCKED}",
          "read the publisher's log; the oldest event is"], ("payctl show e1", False, 1)),
        (seen(READY, publishers=[WORKS, IDLES], newest_sent_s=1.0), None,
         ["3 events have waited for up to 3 min, and the database does not show why",
          "pid 7, payctl publish-outbox is working, and no row lock or dead event is in the way",
          "ask the brokers too"], ("payctl doctor", False, 1)),
        (seen(pending=5, oldest_s=LATE, oldest_id="e7"), None,
         ["5 events have waited for up to 3 min, and the database does not show why",
          "it is unknown whether a publisher is running, and no row lock or dead event is in the way",
          "ask the brokers too"], ("payctl doctor", False, 1)),
        (seen(pending=5, oldest_s=LATE, oldest_id="e7"), Brokers(not_asked="no"),
         ["5 events have waited for up to 3 min, and no known cause was found",
          f"it is unknown whether a publisher is running, the brokers were not asked: no, {NOT_LOCKED}",
          "read the publisher's log; the oldest event is"], ("payctl show e7", False, 1)),
    ],
)  # fmt: skip
def test_a_cause_says_what_it_means_and_which_command_helps(evidence, brokers, sentences, command):
    """Each cause says what was seen, what it means, what to do, and with which command.

    It also says whether the command changes data.
    """
    (cause,) = causes(evidence, brokers)
    given = cause.command and (typed(cause.command), cause.command.changes, cause.command.rows)
    assert [cause.fact, cause.meaning, cause.advice, *([cause.sql] if cause.sql else [])] == sentences
    assert given == command


def test_the_advice_about_a_missing_publisher_depends_on_the_brokers():
    """If payctl has not queried the brokers, the advice says what exit code 4 means.

    If the brokers are unavailable, the advice does not suggest publishing by hand, because that would fail too.
    """
    evidence = seen(READY, publishers=[GONE])
    (unknown,), (brokers, gone) = causes(evidence, None), causes(evidence, AWAY)
    assert unknown.advice == (
        "start the publisher again; until then, publish by hand (if that exits with 4, run payctl doctor)"
    )
    assert typed(unknown.command) == "payctl publish-outbox"
    assert (gone.advice, gone.command) == ("start the publisher again after the brokers are available", None)
    assert brokers.meaning == "3 events have waited for up to 3 min. This uses up no retries"


def test_the_finding_about_a_missing_topic_says_that_no_retries_are_used_up():
    """The finding about a missing topic names the type of the waiting events, even for a single event."""
    (cause,) = causes(seen(READY._replace(events=1), publishers=[IDLES]), NO_TOPIC)
    assert cause.meaning == "1 event has waited for 3 min, of type PAYMENT_COMPLETED. This uses up no retries"
