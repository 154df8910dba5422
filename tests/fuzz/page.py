"""Write the table of ``make fuzz`` in docs/explanation/reliability.md from the runs in docs/fuzz.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from tests.fuzz.targets import FOUND, TARGETS, kept
from ticketbottle_payctl.formats import count

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RUNS = DOCS / "explanation" / "reliability.md", DOCS / "fuzz.json"
BEGIN, END = "<!-- written by make fuzz: begin -->", "<!-- written by make fuzz: end -->"


class Tried(TypedDict):
    """The number of inputs that a run tried for one target, and the findings for this target."""

    inputs: int
    seconds: float
    edges: int
    findings: list[dict[str, str]]


def add(run: Mapping[str, Any]) -> None:
    """Add a run to the record, and write the page."""
    runs = [*(json.loads(RUNS.read_text("utf-8")) if RUNS.exists() else []), run]
    RUNS.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")
    PAGE.write_text(rewritten(PAGE.read_text("utf-8"), runs), "utf-8")


def rewritten(page: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with the part between its two markers regenerated from the runs."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{part(runs)}\n\n{END}{after}"


def part(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the summary, the table and the commands of all runs."""
    tried = {name: [run["targets"][name] for run in runs if name in run["targets"]] for name in TARGETS}
    inputs = sum(each["inputs"] for all_runs in tried.values() for each in all_runs)
    hours = sum(each["seconds"] for all_runs in tried.values() for each in all_runs) / 3600
    findings = sum(len(each["findings"]) for all_runs in tried.values() for each in all_runs)
    rows = [_row(name, each) for name, each in tried.items() if each]
    summary = [
        f"{count(len(runs), 'run')} with {count(inputs, 'input')} in {hours:.1f} hours of running processes:",
        f"{count(findings, 'finding') if findings else 'nothing found'}.",
    ]
    head = ["| what is given | target | inputs | edges | findings | repaired before | kept inputs |"]
    head += ["|---|---|---|---|---|---|---|"]
    return "\n".join([*summary, "", *head, *rows, "", *(_line(run) for run in runs)])


def _row(name: str, runs: Sequence[Tried]) -> str:
    inputs, edges = sum(each["inputs"] for each in runs), max(each["edges"] for each in runs)
    found, fixed = sum(len(each["findings"]) for each in runs), len(kept(FOUND, name))
    return f"| {TARGETS[name].given} | {name} | {inputs:,} | {edges:,} | {found} | {fixed} | `fuzz/test_replay.py` |"


def _line(run: Mapping[str, Any]) -> str:
    inputs = sum(each["inputs"] for each in run["targets"].values())
    found = sum(len(each["findings"]) for each in run["targets"].values())
    verdict = count(found, "finding") if found else "nothing found"
    return f'* {run["date"]}, {inputs:,} inputs, {verdict}: `make fuzz ARGS="{run["repeat"]}"`'
