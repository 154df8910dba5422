"""Test how long a publisher claims batches of one shard before it continues with its next shard."""

from __future__ import annotations

import pytest

from tests.jobs.publish_outbox.conftest import Clockwork
from ticketbottle_payctl.domain.event import START
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions
from ticketbottle_payctl.jobs.publish_outbox.backlog import Backlog
from ticketbottle_payctl.jobs.publish_outbox.budget import Budget
from ticketbottle_payctl.jobs.publish_outbox.pipeline import ClaimPipeline

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
