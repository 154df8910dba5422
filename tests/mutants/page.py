"""Write the mutants table in docs/explanation/reliability.md from docs/mutants.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.mutants.rooms import ROOMS

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RUNS = DOCS / "explanation" / "reliability.md", DOCS / "mutants.json"
BEGIN, END = "<!-- written by make mutants: begin -->", "<!-- written by make mutants: end -->"


def add(name: str, figures: Mapping[str, Any]) -> None:
    """Replace a room's figures in docs/mutants.json, and write the page."""
    rooms = json.loads(RUNS.read_text("utf-8")) if RUNS.exists() else {}
    rooms[name] = dict(figures)
    RUNS.write_text(json.dumps(rooms, indent=2) + "\n", "utf-8")
    PAGE.write_text(rewritten(PAGE.read_text("utf-8"), rooms), "utf-8")


def rewritten(page: str, rooms: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with a new table for these rooms."""
    lines = [
        "| room | mutants | tried | noticed | equivalent | noticed, equivalent ones left out | date |",
        "|---|---|---|---|---|---|---|",
        *(_row(room.name, room.code, rooms[room.name]) for room in ROOMS if room.name in rooms),
    ]
    table = "\n".join(lines)
    return re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{table}\n\n{END}", page, flags=re.DOTALL)


def _row(name: str, code: tuple[str, ...], one: Mapping[str, Any]) -> str:
    places = ", ".join(f"`{place}`" for place in code)
    share = one["noticed"] / max(1, one["tried"] - one["equal"])
    numbers = " | ".join(f"{one[key]:,}" for key in ("mutants", "tried", "noticed", "equal"))
    shown = f"{int(1000 * share) / 10:.1f} %"
    return f"| {name}: {places} | {numbers} | {shown} | {one['date']} |"
