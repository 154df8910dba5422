"""Test each stored input, and random inputs, with the checks of ``make fuzz``."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import FOUND, SEEDS, TARGETS, kept, words

INPUTS = [path for folder in (SEEDS, FOUND) for name in TARGETS for path in kept(folder, name)]
quick = settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_kept_input_is_handled(path):
    """A fuzz target's check accepts each seed and each input that once failed."""
    TARGETS[path.parent.name].load()(path.read_bytes())


def test_every_kept_input_belongs_to_a_target():
    """Each stored fuzz input belongs to a target, and each target has seeds."""
    assert {path.name for folder in (SEEDS, FOUND) for path in folder.iterdir()} == TARGETS.keys()
    assert {path.parent.name for path in INPUTS if SEEDS in path.parents} == TARGETS.keys()
    assert sum(path.stat().st_size for path in INPUTS) < 40_000


@pytest.mark.parametrize("name", TARGETS)
@quick
@given(data=st.data())
def test_any_input_is_handled(name, data):
    """A fuzz target's check accepts random bytes, the target's words and parts of its seeds, in any order."""
    seeds = [path.read_bytes() for path in kept(SEEDS, name)]
    seed = data.draw(st.sampled_from([b"", *seeds]))
    start = data.draw(st.integers(0, len(seed)))
    pieces = data.draw(st.lists(st.binary(max_size=12) | st.sampled_from(words(TARGETS[name])), max_size=4))
    TARGETS[name].load()(b"".join([seed[:start], *pieces, seed[start + data.draw(st.integers(0, 3)) :]]))
