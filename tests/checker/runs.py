"""Check that each finished run has the right status and that the record of each replay is correct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

ENDED = {"done", "incomplete", "interrupted", "stopped", "cancelled"}
OF_EXIT = {0: {"done"}, 6: {"done", "stopped"}, 10: {"incomplete", "stopped"}}
"""The run statuses that fit an exit code. For any other exit code, every final status fits."""

REPLAYS = """
    SELECT r.id::text, r.status,
        ARRAY(SELECT unnest(c.event_ids) FROM payctl.run_chunks AS c WHERE c.run_id = r.id),
        ARRAY(SELECT i.item_id FROM payctl.run_items AS i WHERE i.run_id = r.id AND i.chunk >= 0),
        (SELECT count(*) FROM payctl.run_items AS i WHERE i.run_id = r.id AND i.outcome = 'requeued'),
        (r.counts->>'requeued')::bigint
    FROM payctl.runs AS r WHERE r.command = 'replay'
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay with the events of its plan, and ``decided``, the events for which it recorded an outcome.

    ``requeued`` counts the requeued events in the replay's items, and ``counted`` is the count in its record.
    """

    id: str
    status: str
    planned: list[str]
    decided: list[str]
    requeued: int
    counted: int | None


@dataclass(frozen=True)
class RunFaults:
    """The ids of runs with faults, in one list for each kind of fault."""

    still_running: list[str] = field(default_factory=list)
    """Runs that are recorded as running even though their process has ended."""
    other_status: list[str] = field(default_factory=list)
    """Runs with a status that does not fit the command's exit code."""
    not_resumed: list[str] = field(default_factory=list)
    """Replays that have not finished. The soak resumes each interrupted replay, so every replay should finish."""
    undecided: list[str] = field(default_factory=list)
    """Finished replays that do not have exactly one item for each planned event."""
    miscounted: list[str] = field(default_factory=list)
    """Replays with counts that differ from their items."""


def replays_of(engine: Engine) -> list[Replayed]:
    """Return every recorded replay."""
    with engine.connect() as connection:
        return [Replayed(*row) for row in connection.exec_driver_sql(REPLAYS)]


def judge_runs(shown: Sequence[Mapping[str, Any]], replays: Sequence[Replayed], exits: Mapping[str, int]) -> RunFaults:
    """Check the runs that ``payctl runs list`` shows. ``exits`` contains the last exit code of each run's command."""
    done = [replay for replay in replays if replay.status == "done"]
    return RunFaults(
        still_running=sorted(run["id"] for run in shown if run["status"] not in ENDED),
        other_status=sorted(
            f"{run['id']} {run['status']}, exit {exits[run['id']]}"
            for run in shown
            if run["id"] in exits and run["status"] not in OF_EXIT.get(exits[run["id"]], {run["status"]})
        ),
        not_resumed=sorted(replay.id for replay in replays if replay.status != "done"),
        undecided=sorted(replay.id for replay in done if Counter(replay.planned) != Counter(replay.decided)),
        miscounted=sorted(replay.id for replay in done if replay.requeued != replay.counted),
    )
