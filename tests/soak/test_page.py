"""Test that the soak's table adds up all runs, and names the runs with a finding."""

from __future__ import annotations

from tests.soak.page import BEGIN, END, rewritten

RUN = {
    "date": "2026-11-29", "minutes": 5.0, "seed": 1, "repeat": "--seed 1", "faults": {"kill_webhook": 3}, "wrong": {},
    "payments": 10, "callbacks": 1000, "forgeries": 4, "events": 20, "replayed": 2, "archived": 9, "messages": 22,
    "duplicates": 2,
}  # fmt: skip


def test_the_page_adds_up_all_runs():
    """The soak page shows the sum of all runs and names the runs with a finding."""
    page = f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n"
    bad = RUN | {"date": "2026-11-30", "wrong": {"payments": {"altered": ["a"]}}, "faults": {"kill_webhook": 2}}
    written = rewritten(page, [RUN, bad])
    assert "2 runs in 10 minutes with 5 faults:\n1 without a finding." in written
    assert "2,000 callbacks, 8 of them forged" in written
    assert "| `make soak` | 5 | 1 run with a finding | 2026-11-30 |" in written
    assert "* 2026-11-30, found: payments: `make soak" in written
    assert written.startswith("above\n")
    assert written.endswith("\nbelow\n")
    assert rewritten(written, [RUN, bad]) == written
