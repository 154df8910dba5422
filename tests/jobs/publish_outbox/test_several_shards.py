"""Test how a publisher of several shards divides its time, and which locks of other publishers it names."""

from __future__ import annotations

import pytest

from tests.jobs.publish_outbox.conftest import Clockwork
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.pipeline import ClaimPipeline
from ticketbottle_payctl.store.outbox import shard_lock

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(("shards", "seconds", "expected"), [(4, 0.9, True), (4, 1.0, False), (1, 20.0, True)])
def test_a_publisher_of_several_shards_claims_ahead_only_for_a_second(outbox, shards, seconds, expected):
    """A shard's turn lasts a second if the publisher has several shards. With one shard, its turn has no end."""
    clock, options = Clockwork(), PublishOptions(shards=shards)
    backlog = Backlog(options, 0)
    with outbox.engine.connect() as connection:
        backlog.rescan(connection, clock.now)
    with ClaimPipeline(outbox.engine, backlog, Budget(options, clock, clock), skip_locked=False) as pipeline:
        clock.now += seconds
        assert pipeline._may_claim_behind(START, clock.now) is expected  # noqa: SLF001


@pytest.mark.parametrize(("events", "named"), [(0, [0]), (20, [])])
def test_a_run_that_is_stopped_soon_names_a_new_lock_only_if_it_sent_nothing(outbox, events, named):
    """A shard that was locked for less than two seconds is no obstacle, unless the run could not send anything."""
    outbox.insert(events)
    with outbox.engine.connect() as other:
        shard_lock.enter(other, 0, 2, 1, "elsewhere:77:abc")
        report = outbox.run(Clockwork(waits=1), shards=2)
        other.rollback()
    assert (report.stopped_because, bool(report.counts.published)) == ("signal", bool(events))
    assert [each.shard for each in report.obstacles.locked] == named
