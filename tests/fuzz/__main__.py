"""Run ``make fuzz``, a coverage-guided test of payctl with inputs like those of attackers and careless users.

Each target in tests/fuzz/targets.py is one kind of input. Its check fails if payctl breaks a guarantee. The inputs are
divided between worker processes. Each failing input is saved in build/fuzz/found.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz import page
from tests.fuzz.course import Course
from tests.fuzz.targets import TARGETS

_ROW = "{:<14} {:>12} {:>9} {:>9} {:>7} {:>9}\n"


_HELP = """Feed hostile and malformed inputs to payctl's parsers, guided by code coverage. This needs no database or
broker. If a check fails, the run saves the input below build/fuzz/found, prints the command that repeats the check, and
exits with 1. Press Ctrl-C to end a run early; the inputs tried so far still count."""
"""The description in ``--help``."""


def arguments() -> argparse.ArgumentParser:
    """Return the parser for the command line."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=_HELP)
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, help="number of inputs for all targets together [default: 1,000,000]"
    )
    parser.add_argument(
        "--least", type=int, help="number of inputs for the slowest target [default: a fiftieth of all]"
    )
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this target; repeatable")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 10**6))  # noqa: S311 - not for secrets
    parser.add_argument("--workers", type=int, default=2, help="processes at the same time [default: 2]")
    parser.add_argument("--page", action="store_true", help="add the run to docs/explanation/reliability.md")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="check only this input, such as build/fuzz/found/…")
    return parser


def main() -> int:
    """Run the targets and report the result. Return the exit code."""
    given = arguments().parse_args()
    if given.repeat:
        return repeat(given.repeat)
    names = list(dict.fromkeys(given.target or TARGETS))
    least = given.least if given.least is not None else given.inputs // 50
    chosen = "".join(f" --target {name}" for name in given.target or ())
    again = f"--inputs {given.inputs} --least {least} --seed {given.seed}{chosen}"
    sys.stderr.write(f'seed {given.seed}; again: make fuzz ARGS="{again}"\n')
    began = datetime.now(UTC)
    course = Course(names, given.inputs, least, given.seed, given.workers)
    found = course.run()
    whole = {"date": f"{began:%Y-%m-%d}", "seed": given.seed, "repeat": again, "targets": found}
    _show(found)
    (path := Path("build/fuzz/summary.json")).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"{path} has the same as JSON\n")
    if given.page:
        page.add(whole)
    findings = [each for target in found.values() for each in target["findings"]]
    for each in findings:
        sys.stdout.write(f'{each["error"]}\nrepeat it: make fuzz ARGS="--repeat {each["input"]}"\n')
    return 1 if findings else 0


def repeat(path: Path) -> int:
    """Check one input again without the fuzzer. If the check raises an error, raise the error unchanged."""
    TARGETS[path.resolve().parent.name].load()(path.read_bytes())
    sys.stdout.write("nothing wrong\n")
    return 0


def _show(found: dict[str, page.Tried]) -> None:
    sys.stdout.write(_ROW.format("target", "inputs", "seconds", "a second", "edges", "findings"))
    for name, each in found.items():
        pace = each["inputs"] / max(each["seconds"], 0.1)
        cells = (f"{each['inputs']:,}", f"{each['seconds']:,.0f}", f"{pace:,.0f}", each["edges"], len(each["findings"]))
        sys.stdout.write(_ROW.format(name, *cells))
    sys.stdout.write(f"{sum(each['inputs'] for each in found.values()):,} inputs\n")


if __name__ == "__main__":
    sys.exit(main())
