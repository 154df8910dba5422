"""Test that the fuzz table in docs/explanation/reliability.md adds up the recorded runs of `make fuzz`."""

from __future__ import annotations

import json

from tests.fuzz import page
from tests.fuzz.page import BEGIN, END, PAGE, RUNS, rewritten

GOOD = {"inputs": 1000, "seconds": 3600.0, "edges": 7, "findings": []}
BAD = GOOD | {"edges": 9, "findings": [{"input": "build/fuzz/found/ids/failed-1", "error": "ids: AssertionError"}]}
RUN = {"date": "2026-11-29", "seed": 1, "repeat": "--inputs 1000 --seed 1", "targets": {"ids": GOOD}}


def test_the_page_adds_up_all_runs():
    """The fuzz page shows the sum of all runs and the findings of each run."""
    written = rewritten(f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n", [RUN, RUN | {"targets": {"ids": BAD}}])
    assert "2 runs with 2,000 inputs in 2.0 hours of running processes:\n1 finding." in written
    assert "| files of ids and queue messages | ids | 2,000 | 9 | 1 | 0 | `fuzz/test_replay.py` |" in written
    assert '* 2026-11-29, 1,000 inputs, nothing found: `make fuzz ARGS="--inputs 1000 --seed 1"`' in written
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert rewritten(written, [RUN, RUN | {"targets": {"ids": BAD}}]) == written


def test_the_table_is_that_of_the_recorded_runs():
    """The fuzz table in docs/explanation/reliability.md equals what ``make fuzz`` writes from docs/fuzz.json."""
    text = PAGE.read_text("utf-8")
    assert rewritten(text, json.loads(RUNS.read_text("utf-8"))) == text


def test_a_run_is_added_to_the_record(tmp_path, monkeypatch):
    """``make fuzz`` with ``--page`` keeps the earlier runs in the record and writes the page."""
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "RUNS", tmp_path / "runs.json")
    page.PAGE.write_text(f"{BEGIN}{END}\n", "utf-8")
    page.add(RUN)
    page.add(RUN)
    assert json.loads(page.RUNS.read_text("utf-8")) == [RUN, RUN]
    assert "2 runs with 2,000 inputs" in page.PAGE.read_text("utf-8")
