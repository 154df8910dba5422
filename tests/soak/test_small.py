"""Test a short soak in which each kill, freeze and session cut happens once.

At the end, the publisher is killed too.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from threading import Event

import pytest

from tests.soak.course import Secrets, Size, prepare_database, run
from tests.soak.faults import Fault, Kind

SIZE = Size(
    publishers=1, webhooks=1, shards=2, writers=1, customers=2, events=60, payments=10, pause=(0.1, 7.0), pace=0.1
)


class MockBroker:
    """The mock cluster as the soak's broker. No fault affects this broker."""

    def __init__(self, cluster):
        self.bootstrap = self.direct = cluster.bootstrap

    def begin(self, fault):
        """Raise AssertionError, because the small soak's schedule must not affect the broker."""
        raise AssertionError(fault)

    end = begin


FAULTS = [
    Fault(0.0, Kind.KILL_REPLAY, 0.05, 0),
    Fault(0.0, Kind.KILL_CLEANUP, 0.05, 0),
    Fault(0.0, Kind.KILL_RECONCILE, 0.1, 0),
    Fault(2.0, Kind.CUT_SESSIONS, 0.0, 1),
    Fault(2.5, Kind.KILL_WEBHOOK, 0.0, 0),
    Fault(3.5, Kind.FREEZE_WEBHOOK, 1.0, 0),
    Fault(4.0, Kind.FREEZE_PUBLISHER, 0.9, 0),
]


@pytest.mark.timeout(180)
def test_callbacks_publishers_and_operators_survive_kills_together(postgres, template_database, mock_kafka):
    """Despite kills, freezes and cut sessions, no event is lost, and no payment changes without a valid signature."""
    secrets = Secrets()
    url = prepare_database(postgres, secrets, name="small_soak", template=template_database)
    with ExitStack() as stack:
        found = run(
            stack,
            FAULTS,
            5.0,
            seed=14,
            size=SIZE,
            postgres=postgres,
            url=url,
            broker=MockBroker(mock_kafka),
            secrets=secrets,
            enough=Event(),
            patience=4.0,
            by_the_broker=False,
            quiet=True,
            hurry=True,
        )
    postgres.drop_database("small_soak")
    assert found["wrong"] == {}, json.dumps(found, indent=1)
    assert found["settled"] > 10
    assert found["forgeries"] > 5
    assert {"freeze_publisher", "kill_webhook", "cut_sessions"} <= found["faults"].keys()
