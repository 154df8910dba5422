"""Test which batches are sent, and that a failed event blocks its payment's later events. No service is needed."""

from __future__ import annotations

from datetime import datetime
from threading import Event

import pytest

from ticketbottle_payctl.broker.producer import DeliveryFailure
from ticketbottle_payctl.broker.sender import NO_LEADER
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.retry import Fault
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.batch import BatchOutcome
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.pipeline import ClaimPipeline, OpenBatch

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the owner's columns have no zone
PAUSES = {
    "transport": (DeliveryFailure(Fault.TRANSPORT, "_TRANSPORT", "broken"), 101.0),
    "no leader": (NO_LEADER, 102.0),
    "the event's own": (DeliveryFailure(Fault.EVENT, "INVALID_RECORD", "refused"), 110.0),
    "permanent": (DeliveryFailure(Fault.PERMANENT, "MSG_SIZE_TOO_LARGE", "refused"), None),
    "the topic": (DeliveryFailure(Fault.CONFIGURATION, "UNKNOWN_TOPIC_OR_PART", "missing"), None),
}
"""Second failures of an event, and the time when the payment's block ends. Each block begins at 100 seconds."""


@pytest.mark.parametrize("name", PAUSES)
def test_a_failure_blocks_the_payment_until_the_pause_of_its_fault_is_over(name):
    """Depending on the fault, a failed event blocks its payment for one or two seconds, for the backoff or for good."""
    failure, due = PAUSES[name]
    outcome = BatchOutcome()
    outcome.fail(OutboxEvent("a", "k", "payment", "PAYMENT_COMPLETED", "{}", NOON, 1), failure, PublishOptions(), 100.0)
    assert [(block.key, block.due) for block in outcome.blocks] == [("k", due)]


def test_a_new_outcome_counts_nothing():
    """If a batch was not sent, all counts of its outcome are zero, and the brokers are not reported as unavailable."""
    outcome = BatchOutcome()
    assert outcome.counts == {"published": 0, "unsent": 0, "retried": 0, "held": 0, "dead": 0}
    assert (outcome.deferred, outcome.broker_away, outcome.partial_transport_failure) == (0, False, False)


@pytest.mark.parametrize(("complete", "age", "sent"), [(True, 9.9, True), (True, 10, False), (False, 0, False)])
def test_only_a_complete_and_recent_claim_is_sent(complete, age, sent):
    """A publisher sends a batch only if its claim is complete and less than ten seconds old."""
    pipeline = ClaimPipeline(None, None, Budget(PublishOptions(), Event(), lambda: 100.0), skip_locked=False)
    batch = OpenBatch(
        [], complete, interrupted=False, end=None, seen_at=0.0, claimed_at=100.0 - age, passed_over=[], connection=None
    )
    assert pipeline._may_be_sent(batch) is sent  # noqa: SLF001
