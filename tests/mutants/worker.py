"""Try mutants in this process's own copy of the project. Each line on stdin is a task in JSON.

The process has imported pytest and the libraries, but no module of the project. The process forks for each pytest run,
so that a child process only needs to import the project with the mutant.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import pytest

LIBRARIES = (
    "confluent_kafka.admin", "httpx", "hypothesis.stateful", "hypothesis.strategies", "jsonschema_rs", "payos",
    "psycopg2.sql", "pyte", "rich.console", "rich.live", "rich.table", "sqlalchemy.dialects.postgresql.psycopg2",
    "tenacity", "typer",
)  # fmt: skip
ALREADY = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"


def run(files: list[str], limits: dict[str, float], deadline: float) -> dict[str, object]:
    """Run tests of one folder in a child process. Return the first failure and pytest's exit code."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_child(writer, files, limits)
    os.close(writer)
    ended = _wait(child, deadline)
    with os.fdopen(reader) as answer:
        said = answer.read()
    if not ended:
        return {"failed": "time-out", "code": None}
    return json.loads(said) if said else {"failed": "the test process ended early", "code": None}


def _in_child(writer: int, files: list[str], limits: dict[str, float]) -> None:
    code = 1
    try:
        os.setsid()
        log = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from tests.mutants.selecting import Selection  # noqa: PLC0415 - part of the project, so only in the child

        selection = Selection(limits)
        arguments = ["-q", "-x", "-n", "0", "--tb=short", "-W", ALREADY, "-p", "no:cov", *files]
        code = int(pytest.main(arguments, plugins=[selection]))
        os.write(writer, json.dumps({"failed": selection.failed, "code": code}).encode())
    except BaseException:  # noqa: BLE001 - the child must never go on as a second worker
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int, deadline: float) -> bool:
    """Wait for a child process. At the deadline, kill it and everything in its session."""
    end = time.monotonic() + deadline
    ended = False
    try:
        while not ended and time.monotonic() < end:
            ended = os.waitpid(child, os.WNOHANG)[0] != 0
            time.sleep(0.02)
    finally:
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return ended


def main() -> None:
    """Answer each task on stdin with the test that noticed its mutant."""
    for name in LIBRARIES:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    clock = int(time.time())
    for line in sys.stdin:
        task = json.loads(line)
        file = Path(task["file"])
        original = file.read_text("utf-8")
        answer: dict[str, object] = {"failed": None, "code": 0}
        try:
            clock = _write(file, task.get("source", original), clock)
            for call in task["calls"]:
                answer = run(call["files"], call["limits"], call["deadline"])
                if answer["failed"] or answer["code"] not in {0, 5}:
                    break
        finally:
            clock = _write(file, original, clock)
        answers.write(json.dumps(answer) + "\n")


def _write(file: Path, source: str, clock: int) -> int:
    """Write a file with a new modification time.

    Python compares whole seconds to decide whether to recompile a file.
    """
    file.write_text(source, "utf-8")
    os.utime(file, (clock + 1, clock + 1))
    return clock + 1


if __name__ == "__main__":
    main()
