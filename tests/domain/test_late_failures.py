"""Test the causes about paid orders that a failure event or an event of an unknown type leaves without a ticket."""

from __future__ import annotations

import pytest

from tests.domain.evidence import SUPERSEDED, seen
from ticketbottle_payctl.domain.causes import (
    NO_LATE_FAILURES,
    CauseKind,
    Command,
    LateFailures,
    PaidOrders,
    causes,
    late_failure,
)
from ticketbottle_payctl.domain.causes.late_failures import before_publishing, instead_of_publishing
from ticketbottle_payctl.domain.causes.words import PREVIEW, PUBLISH
from ticketbottle_payctl.domain.retry import MOST_RETRIES
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.settings import Settings

BEFORE = "no ticket can be issued before the PAYMENT_COMPLETED event is sent"


@pytest.mark.parametrize(
    ("found", "fact"),
    [
        (LateFailures(1, "0123456789", "TB-1"),
         "1 pending failure event would take the tickets of a paid order: TB-1 (01234567)"),
        (LateFailures(1, "e1"), "1 pending failure event would take the tickets of a paid order: e1"),
        (LateFailures(1_200, "e1", "TB-1"),
         "1,200 pending failure events would take the tickets of paid orders; the oldest is TB-1 (e1)"),
    ],
)  # fmt: skip
def test_a_late_failure_is_the_most_urgent_cause(found, fact):
    """The cause about a late failure comes first, counts the events and names the oldest one."""
    first, *_ = causes(seen(late_failures=found, paid_orders=PaidOrders(1, ["TB-2"])))
    assert (first.kind, first.events, first.fact) == (CauseKind.LATE_FAILURE, found.number, fact)
    assert first.is_harmless is False
    assert first.sql == late_failure(found.id).sql


@pytest.mark.parametrize(
    ("number", "blocked", "slot", "then"),
    [
        (1, False, None, "a publisher will send it"),
        (2, False, None, "a publisher will send the oldest"),
        (1, True, None, "a dead event blocks it; a publisher will send it after a replay of the dead event"),
        (2, True, None, "a dead event blocks the oldest; a publisher will send the oldest after a replay of the dead"),
        (1, False, True, "Debezium sends each event once, and never sends a requeued event"),
        (2, True, False, "Debezium sends each event once, and never sends a requeued event"),
    ],
)
def test_the_cause_says_who_will_send_the_late_failure(number, blocked, slot, then):
    """A dead event blocks the failure event of its payment only if Debezium does not publish the outbox.

    If there are several failure events, the cause says this only about the oldest event, because the others can differ.
    """
    found = LateFailures(number, "e1", "TB-1", blocked)
    (cause,) = (each for each in causes(seen(late_failures=found, slot_active=slot)) if each.events == number)
    assert cause.meaning.startswith(
        f"the payment is COMPLETED, and no success event waits behind the failure event; {then}"
    )


ONE = LateFailures(1, "0123456789", "TB-1")
STOP = (
    "stop all publishers, because the pending failure event of the paid order TB-1 (01234567) would take the order's"
    " tickets. Make the event dead with the SQL that payctl stats shows. Then see what a publisher would send"
)


def test_the_advice_before_a_dry_run_names_the_order_and_the_steps():
    """The advice says which order is at risk, to stop the publishers first, and which command shows the SQL."""
    assert before_publishing(ONE) == STOP


def test_the_advice_about_several_failures_names_the_oldest_and_says_when_to_stop():
    """`payctl stats` shows the SQL for one event, so the advice says to repeat it until no such event is left."""
    assert before_publishing(LateFailures(1_200, "e1")) == (
        "stop all publishers, because 1,200 pending failure events would take the tickets of paid orders. The oldest is"
        " e1. Make it dead with the SQL that payctl stats shows. Repeat this until payctl stats shows no such event."
        " Then see what a publisher would send"
    )


def test_the_advice_says_that_the_failure_events_could_not_be_read():
    """If payctl could not read the failure events, the advice says so. If it read none, nothing must be done first."""
    assert before_publishing(None) == (
        "check a dry run, because payctl could not read whether a pending failure event would take the tickets of a"
        " paid order"
    )
    assert before_publishing(NO_LATE_FAILURES) is None


RELEASE = Command(("publish-outbox",), options=("--on-dead", "release"), changes=True)


@pytest.mark.parametrize("found", [ONE, None])
@pytest.mark.parametrize(
    ("command", "options", "start"),
    [(PUBLISH, ("-n",), ""), (RELEASE, ("--on-dead", "release", "-n"), "never replay it. First ")],
)
def test_the_dry_run_instead_of_publishing_keeps_the_options_and_what_they_skip(found, command, options, start):
    """The dry run has the options of the command. The advice repeats what the options skip."""
    instead = instead_of_publishing("never replay it", command, found)
    assert instead == (f"{start}{before_publishing(found)}", Command(("publish-outbox",), options=options))


@pytest.mark.parametrize("command", [None, Command(("doctor",)), Command(("replay",), changes=True), PREVIEW])
def test_a_command_that_sends_nothing_is_advised_while_a_failure_is_pending(command):
    """A late failure event changes only the advice to publish."""
    assert instead_of_publishing("", command, ONE) is None


def test_publishing_is_advised_if_no_failure_would_take_tickets():
    """Without a late failure event, the advice to publish stays."""
    assert instead_of_publishing("", PUBLISH, NO_LATE_FAILURES) is None


def test_the_cause_about_a_superseded_event_advises_the_dry_run_of_the_release():
    """`stats` and `doctor` advise the dry run of the release, and still say what the release skips."""
    found = causes(seen(SUPERSEDED, dead=1, blocked=1, superseded=1, superseded_blocking=1, late_failures=ONE))
    (advice,) = [each.advice for each in found if each.command and each.command.options == (*RELEASE.options, "-n")]
    assert advice == f"skip the dead failure and send the success. First {STOP}"


def test_the_sql_quotes_the_id_of_the_event():
    """An id with a quote stays one literal of the SQL statement that makes the event dead."""
    assert "WHERE id = 'it''s' AND NOT published" in late_failure("it's").sql


def test_an_event_with_the_largest_retry_count_is_dead_with_every_setting():
    """No valid OUTBOX_MAX_RETRIES is larger than the retry count in the SQL statement."""
    given = {"DATABASE_URL": "postgresql://host/name"}
    assert Settings.from_env(given | {"OUTBOX_MAX_RETRIES": str(MOST_RETRIES)}).max_retries == MOST_RETRIES
    with pytest.raises(ConfigError):
        Settings.from_env(given | {"OUTBOX_MAX_RETRIES": str(MOST_RETRIES + 1)})


@pytest.mark.parametrize(
    ("number", "unknown", "meaning"),
    [
        (2, 0, BEFORE),
        (1, 1, "the order has no success event that payctl knows, and the dead event has an unknown type"),
        (2, 2, "these orders have no success event that payctl knows, and the dead event has an unknown type"),
        (3, 1, f"{BEFORE}; 1 of them has no success event that payctl knows, and the dead event has an unknown type"),
        (3, 2, f"{BEFORE}; 2 of them have no success event that payctl knows, and the dead event has an unknown type"),
    ],
)  # fmt: skip
def test_the_cause_says_which_paid_orders_have_no_success_event(number, unknown, meaning):
    """The cause about paid orders counts the orders without a success event separately."""
    (cause,) = causes(seen(paid_orders=PaidOrders(number, ["TB-1"], unknown)))
    assert (cause.kind, cause.events, cause.meaning) == (CauseKind.NO_TICKET, number, meaning)
