"""Measure how much CPU time a command needs to start, as a multiple of the time for a bare interpreter."""

from __future__ import annotations

import os
import sys
from statistics import median

from benchmarks import processes
from benchmarks.database import database
from benchmarks.options import Options
from benchmarks.processes import ROOT, python
from benchmarks.report import Section
from ticketbottle_payctl.sandbox.callbacks import environment

_TURNS = 15
_BARE = "a bare interpreter"
_GOALS = {
    "payctl --help": 16,
    "payctl verify-signature --example momo": 16,
    "payctl publish-outbox -n": 32,
    "import lambda_entrypoints.webhook": 27,
    "import lambda_entrypoints.publish_outbox": 30,
}


def startup(options: Options) -> list[Section]:
    """Start each command and import each Lambda module in turn, in several rounds.

    Bytecode and files are cached beforehand.
    """
    with database() as server:
        environ = {
            **environment(),
            "DATABASE_URL": server.url,
            "KAFKA_BROKERS": "127.0.0.1:9",
            "AWS_REGION": "eu-west-1",
        }
        commands = _commands()
        failed = {name: why for name, command in commands.items() if (why := _fails(command, environ))}
        taken: dict[str, list[float]] = {name: [] for name in commands if name not in failed}
        processes.wait_for_quiet(options.patience)
        for _ in range(_TURNS if options.runs > 1 else 3):
            for name, spent in taken.items():
                spent.append(processes.run(commands[name], environ).cpu)
    section = Section("startup", "Start-up (CPU)", ("what", "CPU ms, median", "compared with a bare interpreter"))
    bare = median(taken[_BARE])
    for name, spent in taken.items():
        times = median(spent) / bare
        section.rows.append((f"`{name}`", f"{median(spent) * 1000:.1f}", f"{times:.1f}"))
        section.samples.append({"what": name, "cpu_ms": [round(each * 1000, 2) for each in spent]})
        if name in _GOALS:
            section.at_most(f"start-up of `{name}`, compared with a bare interpreter", times, _GOALS[name], " times")
    section.notes += [f"`{name}` left out: {why}" for name, why in failed.items()]
    return [section]


def _commands() -> dict[str, list[str]]:
    def payctl(*words: str) -> list[str]:
        return python("ticketbottle_payctl", *words)

    modules = sorted(place.stem for place in (ROOT / "lambda_entrypoints").glob("*.py") if place.stem[0] != "_")
    handlers = [
        name for name in modules if "def handler" in (ROOT / "lambda_entrypoints" / f"{name}.py").read_text("utf-8")
    ]
    return {
        _BARE: [sys.executable, "-c", "pass"],
        "payctl --help": payctl("--help"),
        "payctl verify-signature --example momo": payctl("verify-signature", "--example", "momo"),
        "payctl publish-outbox -n": payctl("publish-outbox", "-n"),
        **{
            f"import lambda_entrypoints.{name}": [
                sys.executable,
                "-c",
                f"import lambda_entrypoints.{name}; import os; os._exit(0)",
            ]
            for name in handlers
        },
    }


def _fails(command: list[str], environ: dict[str, str]) -> str | None:
    try:
        processes.run(command, environ)
    except processes.ChildFailedError as error:
        return " ".join(str(error).split())[-160:].replace(str(ROOT) + os.sep, "")
    return None
