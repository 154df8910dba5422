"""Change the code in small ways, one at a time, and report the changes that no test notices.

The results are kept in build/mutants, so a later run continues where an earlier one ended.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.mutants import page
from tests.mutants.making import Mutant, change, mutants, sampled
from tests.mutants.results import Result, equal_ones, figures, keep, read, same
from tests.mutants.rooms import ROOMS, Room
from tests.mutants.tests_of import measured
from tests.mutants.trial import Worker, copied

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutants"
RESULTS = BUILD / "results.jsonl"
Todo = tuple[Mutant, str, str, Result]
"""A mutant, the file's text before and after the change, and the result so far."""


_HELP = """Make small changes to payctl's code, one at a time, run the tests for each change, and list the changes that
no test notices. Results are kept in build/mutants, so a later run continues where this one ends."""
"""The description in ``--help``."""


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="make mutants", description=_HELP)
    names = [room.name for room in ROOMS]
    parser.add_argument("--room", action="append", choices=names, help="only this room; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="test N mutants of each room, chosen by the seed")
    parser.add_argument("--seed", type=int, default=1, help="seed that chooses the mutants [default: 1]")
    parser.add_argument("--only", metavar="TEXT", help="only mutants whose id contains the text")
    parser.add_argument("--again", action="store_true", help="run the mutants again that no test noticed")
    parser.add_argument("--budget", type=float, default=30, help="seconds of tests for one mutant [default: 30]")
    parser.add_argument("--workers", type=int, default=2, help="number of processes [default: 2]")
    parser.add_argument("--page", action="store_true", help="write the figures to docs/explanation/reliability.md")
    return parser.parse_args()


def main() -> int:
    """Try the mutants.

    Return 1 if a room's tests notice less than 95 % of the room's mutants. Equivalent mutants do not count.
    """
    given = arguments()
    BUILD.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PAYCTL_KAFKA_HOME", str(ROOT / ".kafka"))  # the copies of the project have no .kafka
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits, because it would use the same copies
        return 0 if _enough(given) else 1


def _enough(given: argparse.Namespace) -> bool:
    enough = True
    for room in ROOMS:
        if given.room and room.name not in given.room:
            continue
        found = mutants(room, ROOT)
        wanted = [one for one in found if not given.only or given.only in one.id]
        results, todo = _sorted_out(room, sampled(wanted, given.sample, given.seed), again=given.again)
        if todo:
            results += _try_all(room, todo, given)
        enough &= _told(room, results, len(found), given)
    return enough


def _sorted_out(room: Room, chosen: list[Mutant], *, again: bool) -> tuple[list[Result], list[Todo]]:
    """Return the results for mutants that are tried or equivalent, and the mutants that must still be tried."""
    kept, alike = read(RESULTS), equal_ones()
    results: list[Result] = []
    todo: list[Todo] = []
    for mutant in chosen:
        source = (ROOT / mutant.file).read_text("utf-8")
        made = change(mutant, source, sql=room.sql)
        result = Result(room.name, mutant.id, mutant.line, made.was, made.became, None)
        old = kept.get(mutant.id)
        if old and same(old, result) and (old.by or not again):
            results.append(replace(result, by=old.by))
        elif (mutant.file, made.was, made.became) in alike:
            results.append(result)
        else:
            todo.append((mutant, source, made.source, result))
    return results, todo


def _try_all(room: Room, todo: list[Todo], given: argparse.Namespace) -> list[Result]:
    """Try the mutants in all workers in parallel. Store and return the results."""
    trees = [copied(ROOT, BUILD / f"tree-{number}") for number in range(given.workers)]
    known = measured(room, trees[0], BUILD, given.workers)
    lock, unsteady = threading.Lock(), set[str]()
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def one(task: Todo) -> Result:
        mutant, source, new, result = task
        worker = idle.get()
        tests = known.tests_of(mutant, source, room, given.budget)
        result = replace(result, by=worker.noticed_by(mutant.file, new, tests))
        idle.put(worker)
        with lock:
            keep(RESULTS, result)
            sys.stderr.write(_line(result))
        return result

    with ExitStack() as stack:
        for tree in trees:
            idle.put(stack.enter_context(Worker(tree, unsteady)))
        pool = ThreadPoolExecutor(given.workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        return list(pool.map(one, todo))


def _line(result: Result) -> str:
    if result.by:
        return f"noticed      {result.id}  {result.by}\n"
    return f"NOT NOTICED  {result.id} (line {result.line})\n   - {result.was}\n   + {result.became}\n"


def _told(room: Room, results: list[Result], whole: int, given: argparse.Namespace) -> bool:
    """Print a room's figures and its unnoticed mutants. Return whether enough mutants were noticed."""
    alike = equal_ones()
    tried, noticed, equal = figures(results, alike)
    for result in sorted(results, key=lambda one: (one.file, one.line)):
        if result.by is None and (result.file, result.was, result.became) not in alike:
            sys.stdout.write(_line(result))
    share = noticed / max(1, tried - equal)
    counts = f"{whole} mutants, {tried} tried, {noticed} noticed, {equal} equivalent"
    sys.stdout.write(f"{room.name}: {counts}, {share:.1%}\n")
    if given.page:
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        one = {"mutants": whole, "tried": tried, "noticed": noticed, "equal": equal, "seed": given.seed, "date": date}
        page.add(room.name, one)
    return share >= _ENOUGH


_ENOUGH = 0.95

if __name__ == "__main__":
    sys.exit(main())
