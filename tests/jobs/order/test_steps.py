"""Test the order of a history's steps and the time ranges of the search in Kafka. The tests need no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.jobs.order.rows import (
    EVENT,
    MINUTE,
    PAID,
    RECEIPT,
    RUN,
    START,
    TICK,
    history,
)
from ticketbottle_payctl.broker.search import Search
from ticketbottle_payctl.domain.late_commits import LATE_COMMITS
from ticketbottle_payctl.jobs.order import records
from ticketbottle_payctl.jobs.order.records import _not_found, _searched, _stretches
from ticketbottle_payctl.jobs.order.steps import Step, in_order, steps_of
from ticketbottle_payctl.store.payments.history import Replayed


def test_the_search_in_kafka_covers_each_publication_of_an_event():
    """For each time when an event might have been sent, payctl searches from a minute before to ten minutes later."""
    sent = replace(EVENT, state="published", published_at=START)
    early, late = timedelta(minutes=1), timedelta(minutes=10)
    assert _stretches(sent, ()) == [(START - early, START + late)]
    assert _stretches(replace(sent, published_at=None, created_at=START + MINUTE), ()) == [(START, START + 11 * MINUTE)]
    before = START - timedelta(hours=1)
    other = Replayed("f", replace(RUN, started_at=before), before)
    again = Replayed("e", replace(RUN, started_at=START - 20 * MINUTE), before)
    assert _stretches(sent, (other, again)) == [(before - early, before + late), (START - 21 * MINUTE, START + late)]
    touching = replace(RUN, started_at=before + 11 * MINUTE)
    assert _stretches(sent, (again._replace(run=touching),)) == [(before - early, START + late)]
    apart = replace(RUN, started_at=before + 11 * MINUTE + TICK)
    assert len(_stretches(sent, (again._replace(run=apart),))) == 2
    inside = Replayed("e", replace(RUN, started_at=START - MINUTE), START - MINUTE / 2)
    assert _stretches(sent, (inside,)) == [(START - 2 * MINUTE, START + late)]


@pytest.mark.parametrize(("complete", "words"), [(True, "is not in"), (False, "was not found in")])
def test_a_search_without_a_record_names_the_partition_that_was_read(complete, words):
    """The warning about a missing record names the event's partition, even if the time limit ended the search."""
    searches = [Search(4, (), complete=True), Search(-1, (), complete=complete)]
    warning = _not_found(searches, EVENT)
    assert warning.startswith(f"event e {words} payment.completed, partition 4{' ' if complete else ', '}")
    assert warning.endswith("around the time when it was published: never sent, or deleted by retention") is complete
    assert warning.endswith("payctl could not read the whole time range in 10 seconds") is not complete


def test_the_time_limit_ends_the_search_in_kafka(monkeypatch):
    """After the time limit for an event, the remaining time ranges are not searched, and the search is incomplete."""
    monkeypatch.setattr(records, "_PATIENCE", timedelta(0))
    ranges = [(START, START), (START + MINUTE, START + MINUTE)]
    assert list(_searched(EVENT, ranges, {})) == [Search(-1, (), complete=False)]


KINDS = ["payment_created", "callback", "payment_settled", "event_written", "copy", "event_replayed",
         "event_published", "record", "closed"]  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_at_one_instant_each_cause_comes_before_its_effect(order):
    """If all steps of a history have the same time, each cause is still listed before its effect."""
    copy = replace(RECEIPT, id="copy", event_id=None)
    found = history(PAID, EVENT, receipts=[RECEIPT, copy])
    steps = [
        Step(START, "callback" if kind == "copy" else kind, "copy" if kind == "copy" else "c", {}) for kind in KINDS
    ]
    listed = in_order(found, steps[::order])
    assert ["copy" if step.id == "copy" else step.kind for step in listed] == KINDS


@pytest.mark.parametrize(
    ("after", "first"),
    [
        (-TICK, "callback"),
        (timedelta(0), "callback"),
        (LATE_COMMITS, "callback"),
        (LATE_COMMITS + TICK, "payment_settled"),
    ],
)
def test_the_callback_of_a_settlement_comes_before_it(after, first):
    """The history lists a callback before the settlement if its receipt was written in the settlement's transaction."""
    found = history(PAID, EVENT, receipts=[replace(RECEIPT, received_at=START + after)])
    steps = [step for step in steps_of(found) if step.kind in {"callback", "payment_settled"}]
    assert in_order(found, steps)[0].kind == first


@pytest.mark.parametrize(("before", "last"), [(MINUTE, "record"), (MINUTE + TICK, "event_published")])
def test_a_record_follows_its_publication_if_the_clocks_differ_by_a_minute(before, last):
    """The history lists an event's record after its publication, even if the producer's clock is a minute behind."""
    sent = replace(EVENT, state="published", published_at=START)
    steps = [Step(START, "event_published", "e", {}), Step(START - before, "record", "e", {})]
    assert in_order(history(PAID, sent), steps)[-1].kind == last
