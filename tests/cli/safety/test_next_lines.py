"""Test that a long command below a line of advice begins further to the left, so that it fits in 80 columns."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.cli.output.result import dim
from ticketbottle_payctl.cli.safety.cause_advice import next_lines

ALIGNED = 20
"""The column of the advice. Two spaces separate the indent, the label and the advice."""


@pytest.mark.parametrize(
    ("length", "column"),
    [(20, ALIGNED), (60, ALIGNED), (61, 19), (70, 10), (77, 3), (78, 0), (80, 0), (120, 0)],
)
def test_a_long_command_begins_further_to_the_left(length, column):
    """A command that fits begins in the advice's column. A longer command begins further to the left."""
    command = "payctl ".ljust(length, "x")
    words, pasted = next_lines(" " * 12, dim("fix:"), "do this", command)
    assert [part if isinstance(part, str) else part.text for part in words.parts][-1] == "do this:"
    shown = "  ".join(part if isinstance(part, str) else part.text for part in pasted.parts)
    assert (len(shown) - len(shown.lstrip()), shown.lstrip(), pasted.whole) == (column, command, True)
    assert len(shown) <= max(80, length)
