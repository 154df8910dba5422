"""Write the results as a Markdown page for people and as JSON for comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_PREFACE = (
    "[benchmarks/README.md](../../benchmarks/README.md) explains how each figure is measured. Compare only the ratios,"
    " because times and rates depend on the machine and on its load."
)


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and its measured value. ``met`` is None if this run did not measure the value."""

    about: str
    wanted: str
    measured: str
    met: bool | None


@dataclass(slots=True)
class Section:
    """A benchmark's table, goals, notes and samples."""

    name: str
    title: str
    columns: Sequence[str] = ()
    rows: list[Sequence[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def at_most(self, about: str, value: float | None, limit: float, unit: str = "") -> None:
        """Record a value that should be at most ``limit``."""
        self._goal(about, value, f"≤ {limit:g}{unit}", unit, met=value is not None and value <= limit)

    def at_least(self, about: str, value: float | None, limit: float) -> None:
        """Record a value that should be at least ``limit``."""
        self._goal(about, value, f"≥ {limit:g}", "", met=value is not None and value >= limit)

    def _goal(self, about: str, value: float | None, wanted: str, unit: str, *, met: bool) -> None:
        known = value is not None
        self.goals.append(
            Goal(about, wanted, f"{value:.3g}{unit}" if known else "not measured", met if known else None)
        )


def markdown(sections: Sequence[Section], about: dict[str, str], at: datetime) -> str:
    """Return the results page as Markdown."""
    goals = [goal for section in sections for goal in section.goals]
    parts = [
        f"# Benchmarks of {at:%Y-%m-%d %H:%M} UTC",
        _PREFACE,
        table(("", ""), list(about.items())),
    ]
    if goals:
        verdict = {True: "yes", False: "**no**", None: "-"}
        parts += ["## Goals", table(("what", "goal", "measured", "met"), [_told(goal, verdict) for goal in goals])]
    for section in sections:
        parts += [f"## {section.title}", *([table(section.columns, section.rows)] if section.rows else [])]
        parts += [f"* {note}" for note in section.notes]
    return "\n\n".join(parts) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(sections: Sequence[Section], about: dict[str, str], at: datetime, directory: Path, label: str = "") -> Path:
    """Write the page and the JSON file, which are named after the date and the label. Return the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    page = directory / f"{at:%Y-%m-%d}{label and '-'}{label}.md"
    page.write_text(markdown(sections, about, at), "utf-8")
    record = {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "machine": about, "sections": [asdict(section) for section in sections]}
    page.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return page


def _told(goal: Goal, verdict: dict[bool | None, str]) -> tuple[str, ...]:
    return goal.about, goal.wanted, goal.measured, verdict[goal.met]
