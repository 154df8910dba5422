"""Test that a soak's seed determines its faults, which include every kind."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.soak.faults import QUICK, USUAL, Kind, plan


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_determines_the_soak_s_faults(seed):
    """The same seed plans the same faults for a soak.

    The faults include one long outage, with enough time between two broker faults.
    """
    faults = plan(seed, 600, outage=120, number=300)
    assert faults == plan(seed, 600, outage=120, number=300) != plan(seed + 1, 600, outage=120, number=300)
    assert len(faults) == 300
    assert [fault.seconds for fault in faults if fault.seconds >= 120] == [120]
    assert all(0 < fault.at <= fault.end <= 600 for fault in faults)
    of_the_broker = [fault for fault in faults if fault.kind.hits_the_broker]
    assert all(before.end + 10 < after.at for before, after in pairwise(of_the_broker))
    (long,) = (fault for fault in faults if fault.seconds == 120)
    waiting = [fault for fault in faults if long.at + 60 < fault.at < long.end]
    assert Kind.KILL_PUBLISHER not in {fault.kind for fault in waiting}
    assert {kind for kind in USUAL if not kind.hits_the_broker} < {fault.kind for fault in faults}


def test_the_faults_of_an_hour_are_as_many_as_asked():
    """A thousand faults planned for an hour include every kind, with no long pause between two faults."""
    faults = plan(1, 3600, outage=120, number=1000)
    assert len(faults) == 1000
    assert {fault.kind for fault in faults} == set(USUAL)
    assert max(after.at - before.at for before, after in pairwise(faults)) < 10


def test_the_quick_kinds_leave_the_broker_alone():
    """The faults in the small soak do not affect the broker and do not include an outage."""
    assert not any(fault.kind.hits_the_broker for fault in plan(3, 10, outage=0, number=40, kinds=QUICK))


def test_a_soak_that_is_too_short_for_the_outage_is_refused():
    """`plan` raises ValueError for a run that is too short for its outage, because the run would prove nothing."""
    with pytest.raises(ValueError, match="too short"):
        plan(1, 60, outage=120, number=10)
