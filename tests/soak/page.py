"""Write the soak's table in docs/explanation/reliability.md from the runs in docs/soak.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.soak.faults import Kind
from ticketbottle_payctl.formats import count

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RUNS = DOCS / "explanation" / "reliability.md", DOCS / "soak.json"
BEGIN, END = "<!-- written by make soak: begin -->", "<!-- written by make soak: end -->"

HAPPENS = {
    Kind.KILL_PUBLISHER: "the claim is rolled back; another publisher sends the batch, at most once more",
    Kind.FREEZE_PUBLISHER: "another publisher takes the shard over; the batch of the frozen one is rolled back",
    Kind.KILL_WEBHOOK: "nothing is half written; the gateway gets no reply and calls again",
    Kind.FREEZE_WEBHOOK: "the server ends its open transaction; the gateway calls again",
    Kind.KILL_REPLAY: "the run is shown as interrupted; `payctl runs resume` does the rest",
    Kind.KILL_CLEANUP: "every deleted event is in the archive; the next cleanup continues",
    Kind.KILL_RECONCILE: "settled payments stay settled; the next reconcile asks about the others",
    Kind.FREEZE_OPERATOR: "the command continues, or ends with an error and can be run again",
    Kind.CUT_SESSIONS: "the transaction is rolled back, and the process connects again",
    Kind.RESTART_POSTGRES: "as above, for every process at once",
    Kind.KILL_BROKER: "events wait without using up a retry, and are sent when the broker is back",
    Kind.STOP_BROKER: "as above, also for several minutes",
    Kind.SLOW_BROKER: "events are sent later, in order",
    Kind.NARROW_BROKER: "events are sent later, in order",
    Kind.HALF_OPEN_BROKER: "the batch is rolled back after its time limit, and sent again",
}


def add(run: Mapping[str, Any]) -> None:
    """Add a run to the record, without its evidence, and write the page."""
    kept = {name: value for name, value in run.items() if name != "evidence"}
    runs = [*json.loads(RUNS.read_text("utf-8")), kept] if RUNS.exists() else [kept]
    RUNS.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")
    PAGE.write_text(rewritten(PAGE.read_text("utf-8"), runs), "utf-8")


def rewritten(page: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with the part between its two markers regenerated from the runs."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{part(runs)}\n\n{END}{after}"


def part(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the summary, the table and the commands of all runs."""
    number: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    latest: dict[str, str] = {}
    for run in runs:
        for kind, times in run["faults"].items():
            number[kind] += times
            latest[kind] = run["date"]
            failed[kind] += bool(run["wrong"])
    names = {kind.name.lower(): kind for kind in Kind}
    rows = [
        f"| {names[kind].value} | {HAPPENS[names[kind]]} | `make soak` | {number[kind]:,} | "
        f"{_result(failed[kind])} | {latest[kind]} |"
        for kind in names
        if number[kind]
    ]
    table = ["| fault | what happens | evidence | N | result | date |", "|---|---|---|---|---|---|", *rows]
    return "\n".join([*_summary(runs), "", *table, "", *(_line(run) for run in runs)])


def _result(failed: int) -> str:
    return f"{count(failed, 'run')} with a finding" if failed else "nothing wrong"


def _summary(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    total: Counter[str] = Counter()
    for run in runs:
        total.update({name: value for name, value in run.items() if isinstance(value, int)})
        total["faults"] += sum(run["faults"].values())
    good = sum(not run["wrong"] for run in runs)
    minutes = sum(run["minutes"] for run in runs)
    return [
        f"{count(len(runs), 'run')} in {minutes:g} minutes with {count(total['faults'], 'fault')}:",
        f"{good} without a finding.",
        f"{total['payments']:,} payments, {total['callbacks']:,} callbacks, {total['forgeries']:,} of them forged,",
        f"{total['events']:,} events, {total['replayed']:,} replayed, {total['archived']:,} archived,",
        f"{total['messages']:,} messages, {total['duplicates']:,} of them copies of an event.",
    ]


def _line(run: Mapping[str, Any]) -> str:
    verdict = "nothing wrong" if not run["wrong"] else f"found: {', '.join(run['wrong'])}"
    return f'* {run["date"]}, {verdict}: `make soak ARGS="{run["repeat"]}"`'
