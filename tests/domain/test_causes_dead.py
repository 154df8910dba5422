"""Test the causes and the advice for dead events, and for the events that wait behind them."""

from __future__ import annotations

import pytest

from tests.domain.evidence import (
    ANSWERED,
    BLOCKED,
    COMPLETED,
    FAILED,
    IN_THE_WAY,
    OLD_FAILURE,
    SUPERSEDED,
    TOO_LARGE,
    seen,
    typed,
)
from ticketbottle_payctl.domain.causes import (
    CauseKind,
    causes,
)

RAISE = "raise max.message.bytes of payment.completed"


@pytest.mark.parametrize(
    ("group", "blocked", "advice", "command"),
    [
        (TOO_LARGE, BLOCKED, f"{RAISE} to 2,061 or more, because the message is at most 2,000 bytes long, then",
         "payctl replay --failed --error-group 0a1b2c3d"),
        (TOO_LARGE._replace(message_bytes=1_000_262, too_large=1), BLOCKED, "the message is at most 1,000,262 bytes",
         "payctl show d1"),
        (TOO_LARGE._replace(events=3, too_large=3), BLOCKED, "do not replay: 3 of 3 are larger than the 1,000,000",
         "payctl show d1"),
        (TOO_LARGE._replace(event_types=[FAILED], events=2, superseded=2, blocking=2), BLOCKED, "do not replay",
         "payctl show d1"),
        (TOO_LARGE._replace(event_types=["OTHER"], unknown=1, error="UNKNOWN_EVENT_TYPE: no"), BLOCKED,
         "so a replay does not help", "payctl show d1"),
        (TOO_LARGE._replace(error=None, id="it's one"), BLOCKED, "remove the cause",
         "payctl replay --failed --error-group 0a1b2c3d"),
        (TOO_LARGE._replace(events=1001), BLOCKED, "2,061 or more, because the largest message is at most 2,000 bytes",
         "payctl replay --failed --error-group 0a1b2c3d"),
        (TOO_LARGE._replace(event_types=[FAILED]), SUPERSEDED, "skip the dead failure and send the success",
         "payctl publish-outbox --on-dead release"),
    ],
)  # fmt: skip
def test_no_replay_is_advised_for_an_event_that_would_die_again(group, blocked, advice, command):
    """No replay is recommended for an event that is too large for payctl, has no topic, or is superseded."""
    waiting = [blocked] if blocked else []
    found = causes(seen(*waiting, dead=1, blocked=len(waiting), dead_groups=[group]), ANSWERED)
    dead = next(cause for cause in found if cause.kind is CauseKind.DEAD)
    assert (advice in dead.advice, typed(dead.command)) == (True, command)
    assert dead.command.rows == (group.events if command.startswith("payctl replay") else 1)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (seen(dead=1, superseded=1, superseded_ids=["d1"], dead_groups=[OLD_FAILURE]),
         ["1 dead event is harmless: d1 is superseded"]),
        (seen(dead=2, superseded=1, superseded_ids=["d1"], dead_groups=[OLD_FAILURE._replace(events=2)]),
         ["1 event is dead: MSG_SIZE", "1 dead event is harmless"]),
        (seen(dead=9, superseded=8, superseded_ids=["d1", "d2"], dead_groups=[OLD_FAILURE]),
         ["1 more dead event with other errors", "8 dead events are harmless: they are superseded"]),
        (seen(dead=5, superseded=3, superseded_repeated=2, superseded_ids=["d1"], dead_groups=[]),
         ["2 more dead events with other errors",
          "3 dead events are harmless: 1 is superseded, and 2 repeat a success that was sent"]),
        (seen(dead=4, superseded=4, superseded_closed=1, superseded_repeated=1, superseded_ids=["d1"], dead_groups=[]),
         ["3 dead events are harmless: 2 are superseded, and 1 repeats a success that was sent"]),
        (seen(dead=2, superseded=2, superseded_repeated=2, superseded_ids=["d1"], dead_groups=[]),
         ["2 dead events are harmless: they repeat a success that was sent"]),
        (seen(SUPERSEDED, dead=1, blocked=1, superseded=1, superseded_blocking=1, dead_groups=[IN_THE_WAY]),
         ["event e5 waits behind dead event d1 of its payment"]),
        (seen(BLOCKED, dead=2, blocked=1, superseded=1, superseded_ids=["d2"], dead_groups=[TOO_LARGE, OLD_FAILURE]),
         ["1 event is dead: MSG_SIZE", "event e5 waits behind", "1 dead event is harmless: d2 is superseded"]),
        (seen(BLOCKED, dead=2, blocked=1, superseded=1, superseded_closed=1, dead_groups=[TOO_LARGE, OLD_FAILURE]),
         ["1 event is dead: MSG_SIZE", "event e5 waits behind"]),
        (seen(SUPERSEDED, dead=2, blocked=1, superseded=2, superseded_blocking=1, superseded_ids=["d2"],
              dead_groups=[IN_THE_WAY._replace(events=2, superseded=2)]),
         ["event e5 waits behind dead event d1 of its payment", "1 dead event is harmless: d2 is superseded"]),
        (seen(BLOCKED, dead=9, blocked=1, superseded=7, superseded_blocking=2, superseded_ids=["d2"],
              dead_groups=[TOO_LARGE, IN_THE_WAY]),
         ["1 event is dead: MSG_SIZE", "1 event is dead: MSG_SIZE", "2 more dead events with other errors",
          "event e5 waits behind", "5 dead events are harmless"]),
    ],
)  # fmt: skip
def test_a_superseded_event_is_harmless_if_it_blocks_nothing(evidence, expected):
    """A superseded event is urgent if it blocks a success event.

    Otherwise payctl reports it as harmless and does not count it in any group.
    """
    facts = [cause.fact for cause in causes(evidence, ANSWERED)]
    assert len(facts) == len(expected)
    assert all(fact.startswith(start) for fact, start in zip(facts, expected, strict=True)), facts


@pytest.mark.parametrize(
    ("blocked", "groups"),
    [
        (SUPERSEDED, [IN_THE_WAY]),
        (SUPERSEDED, [IN_THE_WAY._replace(events=2)]),
        (SUPERSEDED, [TOO_LARGE, IN_THE_WAY]),
        (BLOCKED, [TOO_LARGE]),
    ],
)
def test_a_blocking_dead_event_is_reported_once_with_its_command(blocked, groups):
    """Only the cause of the blocked events names the dead event that blocks them.

    No two causes suggest the same command.
    """
    superseded = sum(group.superseded for group in groups)
    found = causes(
        seen(blocked, dead=3, blocked=1, superseded=superseded, superseded_blocking=superseded, dead_groups=groups),
        ANSWERED,
    )
    commands = [typed(cause.command) for cause in found if cause.command]
    assert len({*commands}) == len(commands) == len(found)
    words = [f"{cause.fact} {cause.meaning}" for cause in found]
    assert [each for each in words if "blocks the later events" in each] == []
    assert sum("waits behind dead event" in each for each in words) == 1
    assert len(found) > 1 or "PAYMENT_FAILED (MSG_SIZE_TOO_LARGE: Broker: Message size too large)" in found[0].meaning


def test_a_dead_event_is_said_to_block_others_only_if_it_does():
    """The cause for dead events mentions blocked events only if there are any.

    The blocked events need not be among the oldest pending events.
    """
    dead = {"dead": 3, "dead_groups": [TOO_LARGE], "pending": 30_000, "sampled": True}
    found = causes(seen(blocked=1, **dead), ANSWERED)
    assert ["later events of its payment" in cause.meaning for cause in found] == [True, True]
    found = causes(seen(**dead), ANSWERED)
    assert [cause.meaning for cause in found] == ["publishers never send dead events"] * 2


@pytest.mark.parametrize(
    ("group", "meaning", "rows"),
    [
        (TOO_LARGE._replace(events=5, unknown=1, too_large=2),
         "; 3 of 5 are left out of a replay: 1 of an unknown type, 2 too large", 2),
        (TOO_LARGE._replace(events=3, superseded=2, blocking=1), "; 1 of 2 is left out of a replay: 1 superseded", 1),
        (TOO_LARGE._replace(events=3, superseded=1), "", 2),
        (TOO_LARGE._replace(events=2), "", 2),
        (TOO_LARGE._replace(events=2, too_large=2), "", 1),
        (TOO_LARGE._replace(events=2, too_large=1, superseded=1, blocking=1), "", 1),
    ],
)  # fmt: skip
def test_a_mixed_group_says_how_many_events_a_replay_leaves_out(group, meaning, rows):
    """If a replay leaves out only some events of a group, the cause counts these events and says why.

    The cause's total includes these events.
    """
    found = causes(
        seen(dead=group.events, superseded=group.superseded, superseded_blocking=group.blocking, dead_groups=[group]),
        ANSWERED,
    )
    assert (found[0].meaning, found[0].command.rows) == (f"publishers never send dead events{meaning}", rows)
    assert (found[0].command.verb == ("show",)) is (group.replayable == 0)


def test_no_release_is_advised_for_dead_events_that_are_not_superseded():
    """If one of two dead failures is superseded, payctl recommends a replay and not a release.

    The replay skips the superseded event.
    """
    mixed = IN_THE_WAY._replace(events=2, error="NO: reply")
    found = causes(
        seen(SUPERSEDED, dead=2, blocked=1, superseded=1, superseded_blocking=1, dead_groups=[mixed]), ANSWERED
    )
    assert typed(found[0].command) == "payctl replay --failed --error-group 0a1b2c3d"
    assert found[0].command.rows == 1


def test_no_release_is_advised_if_an_event_could_overtake_a_success():
    """If another payment's event waits behind a dead success, payctl does not recommend `--on-dead release`."""
    group = TOO_LARGE._replace(event_types=[FAILED])
    found = causes(seen(SUPERSEDED, BLOCKED, dead=2, blocked=2, dead_groups=[group]), ANSWERED)
    assert not any("release" in typed(cause.command) for cause in found if cause.command)


def test_no_replay_is_advised_while_debezium_publishes():
    """While Debezium publishes, payctl does not recommend a replay, because a replayed event would stay pending."""
    (cause,) = causes(seen(dead=1, dead_groups=[TOO_LARGE], slot_active=True), ANSWERED)
    assert ("do not replay" in cause.advice, typed(cause.command)) == (True, "payctl show d1")


def test_a_group_with_messages_of_several_sizes_is_judged_event_by_event():
    """If only some messages of a group are too large for payctl, the others can be replayed after a fix."""
    group = TOO_LARGE._replace(events=3, too_large=1, message_bytes=900_000)
    (cause,) = causes(seen(dead=3, dead_groups=[group]), ANSWERED)
    assert cause.advice == (
        "1 of 3 is larger than the 1,000,000 bytes that payctl sends;"
        " for the others, raise max.message.bytes of payment.completed to 900,061 or more, because the largest message"
        " is at most 900,000 bytes long, then"
    )
    assert (typed(cause.command), cause.command.rows) == ("payctl replay --failed --error-group 0a1b2c3d", 2)


def test_the_advice_about_a_mixed_group_is_only_about_the_events_that_a_replay_sends():
    """The advice leaves out harmless events, and has only the topics and the largest size of the events to replay."""
    group = TOO_LARGE._replace(
        events=3, too_large=1, superseded=1, event_types=[COMPLETED, FAILED], replay_types=[COMPLETED]
    )
    (cause, _) = causes(seen(dead=3, superseded=1, dead_groups=[group]), ANSWERED)
    assert cause.advice == (
        "1 of 2 is larger than the 1,000,000 bytes that payctl sends;"
        " for the other, raise max.message.bytes of payment.completed to 2,061 or more, because the message is at most"
        " 2,000 bytes long, then"
    )


def test_a_group_is_judged_smaller_now_only_if_payctl_itself_refused_it():
    """If messages that payctl itself refused are small enough now, the advice is to requeue their events.

    For messages that a broker refused, the topic's limit must also be raised.
    """
    client = "MSG_SIZE_TOO_LARGE: Unable to produce message: Broker: Message size too large"
    small, mixed = TOO_LARGE._replace(events=2, error=client), TOO_LARGE._replace(events=3, too_large=1, error=client)
    advice = [causes(seen(dead=each.events, dead_groups=[each]), ANSWERED)[0].advice for each in (small, mixed)]
    assert advice == [
        "the messages are smaller now, so requeue the events",
        "1 of 3 is larger than the 1,000,000 bytes that payctl sends; the others are smaller now, so requeue them",
    ]


def test_dead_events_with_other_errors_are_counted_separately():
    """The evidence names only the largest groups of dead events. All remaining groups count as one cause."""
    first, rest = causes(seen(dead=5, dead_groups=[TOO_LARGE._replace(events=2)]), ANSWERED)
    assert (first.events, rest.events, rest.fact) == (2, 3, "3 more dead events with other errors")


def test_release_is_advised_only_if_every_dead_type_is_superseded():
    """`--on-dead release` is not recommended for a group with several event types, or a group that blocks nothing."""
    both = TOO_LARGE._replace(event_types=[FAILED, "PAYMENT_CANCELLED"])
    nothing_blocked = causes(seen(dead=1, dead_groups=[both._replace(event_types=[])]), ANSWERED)
    found = causes(seen(SUPERSEDED, dead=1, blocked=1, dead_groups=[both]), ANSWERED)
    assert not any("release" in typed(cause.command) for cause in (*nothing_blocked, found[0]))


@pytest.mark.parametrize(
    ("dead", "repeated", "words"),
    [
        (2, 1, "2 dead events are harmless: 1 is superseded, and 1 repeats a success that was sent"),
        (4, 2, "4 dead events are harmless: 2 are superseded, and 2 repeat a success that was sent"),
        (2, 2, "2 dead events are harmless: they repeat a success that was sent"),
    ],
)
def test_the_verb_fits_the_number_of_harmless_events(dead, repeated, words):
    """One event "is superseded" and "repeats" a success, several "are superseded" and "repeat" it."""
    (cause,) = causes(seen(superseded=dead, superseded_repeated=repeated, superseded_ids=("d1", "d2")))
    assert cause.fact == words
