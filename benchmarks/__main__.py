"""Run benchmarks with ``python -m benchmarks [NAME ...]``, print the page, and save it in ``docs/benchmarks``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import drain, first_callback, latency, pooler, rivals, startup, upkeep, verify, webhook
from benchmarks.machine import facts
from benchmarks.options import Options
from benchmarks.processes import ROOT
from benchmarks.report import Section, markdown, write

BENCHMARKS: dict[str, Callable[[Options], list[Section]]] = {
    "drain": drain.drain,
    "disturbed": drain.disturbed,
    "latency": latency.latency,
    "webhook": webhook.webhook,
    "pooler": pooler.pooler,
    "cleanup": upkeep.cleanup,
    "stats": upkeep.stats,
    "startup": startup.startup,
    "first_callback": first_callback.first_callback,
    "verify": verify.verify,
    "peers": rivals.peers,
}


def main() -> int:
    """Run the benchmarks given as arguments."""
    arguments = _parser().parse_args()
    options = Options.quick() if arguments.quick else Options()
    given = {name: getattr(arguments, name) for name in ("rows", "published", "runs") if getattr(arguments, name)}
    options = replace(options, **given)
    at = datetime.now(UTC)
    about = facts()
    sections: list[Section] = []
    for name in arguments.names or BENCHMARKS:
        sys.stderr.write(f"{name}\n")
        sections += BENCHMARKS[name](options)
        if arguments.keep:  # after each benchmark, so that a late failure loses no results
            page = write(sections, about, at, Path(arguments.keep), arguments.label)
            sys.stderr.write(f"written: {page.name}\n")
    sys.stdout.write(markdown(sections, about, at))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        choices=[*BENCHMARKS, []],
        help=f"benchmarks to run, of {', '.join(BENCHMARKS)} [all]",
    )
    parser.add_argument("--rows", type=int, help="number of events in the backlog to drain [200000]")
    parser.add_argument("--published", type=int, help="number of published rows next to the backlog [1000000]")
    parser.add_argument("--runs", type=int, help="number of rounds [5]")
    parser.add_argument("--quick", action="store_true", help="run one small round, to check that everything works")
    parser.add_argument(
        "--keep",
        metavar="DIR",
        default=str(ROOT / "docs" / "benchmarks"),
        help="folder for the results [docs/benchmarks]",
    )
    parser.add_argument("--label", default="", help="text to add to the page's name, for a second run on the same day")
    parser.add_argument("--no-keep", dest="keep", action="store_const", const="", help="write no results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
