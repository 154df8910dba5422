"""Test the last lines of ``payctl demo``, which suggest the next commands."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.cli.commands.demo.timeline import try_next
from ticketbottle_payctl.cli.output.result import Result
from ticketbottle_payctl.cli.output.surface import Surface
from ticketbottle_payctl.cli.output.text import as_text


@pytest.mark.parametrize("program", ["payctl", ".venv/bin/payctl"])
def test_the_commands_to_try_next_fit_80_columns(program, monkeypatch):
    """Each suggested command and its note fit in one line of 80 columns, even if payctl's path is long."""
    monkeypatch.setenv("COLUMNS", "80")
    text = as_text(Result("x/1", human=[*try_next(program, 80)]), Surface(terminal=True, colour=False))
    lines = text.splitlines()
    notes = [line.split("  ")[-1].strip() for line in lines]
    assert notes == ["genuine", "refused", "repair four orders"]
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(f"  {program} ") for line in lines)
    assert (len({line.index(note) for line, note in zip(lines, notes, strict=True)}) == 1) == (program == "payctl")
