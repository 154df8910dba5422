from __future__ import annotations

from itertools import pairwise

import pytest

from tests.soak.faults import Kind, plan


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_determines_the_soak_s_faults(seed):
    """The same seed gives the same faults, with one long outage and enough time between two broker faults."""
    faults = plan(seed, 300, outage=120, publishers=3)
    assert faults == plan(seed, 300, outage=120, publishers=3) != plan(seed + 1, 300, outage=120, publishers=3)
    assert [fault.seconds for fault in faults if fault.seconds >= 120] == [120]
    assert all(0 < fault.at <= fault.end <= 300 for fault in faults)
    of_the_broker = [fault for fault in faults if fault.kind.hits_the_broker]
    assert all(before.end + 10 < after.at for before, after in pairwise(of_the_broker))
    (long,) = (fault for fault in faults if fault.seconds == 120)
    waiting = [fault for fault in faults if long.at + 60 < fault.at < long.end]
    assert Kind.KILL_PUBLISHER not in {fault.kind for fault in waiting}
    assert {Kind.KILL_PUBLISHER, Kind.RESTART_POSTGRES} < {fault.kind for fault in faults}


def test_a_soak_that_is_too_short_for_the_outage_is_refused():
    """A run without its long outage would prove nothing, so plan raises ValueError."""
    with pytest.raises(ValueError, match="too short"):
        plan(1, 60, outage=120, publishers=3)
