"""Measure the CPU time for an execution environment's first callback, relative to the CPU time for a later callback."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from sqlalchemy import Engine

from benchmarks import processes
from benchmarks.database import database
from benchmarks.options import Options
from benchmarks.report import Section
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import insert_payment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

_CALLBACKS = 30
_KINDS: dict[str, dict[str, str]] = {
    "no INIT": {},
    "INIT on demand": {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"},
    "INIT with provisioned concurrency": {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"},
}
_GOAL = "INIT with provisioned concurrency"
_CHILD = """
import json, sys, time
began = time.process_time()
from lambda_entrypoints.webhook import handler
spent = [time.process_time() - began]
class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self):
        return 10_000
for event in json.load(sys.stdin):
    began = time.process_time()
    reply = handler(event, Context())
    spent.append(time.process_time() - began)
    assert '"return_code":1' in reply["body"], reply
print("\\n" + json.dumps(spent))
"""


def first_callback(options: Options) -> list[Section]:
    """Start a new interpreter for each kind of INIT in turn, and let it process a few callbacks."""
    taken: dict[str, list[list[float]]] = {name: [] for name in _KINDS}
    with database() as server:
        engine = make_engine(DatabaseSettings(Secret(server.url)))
        processes.wait_for_quiet(options.patience)
        for _ in range(5 if options.runs > 1 else 1):
            for name, how in _KINDS.items():
                taken[name].append(_run(engine, {**environment(), "DATABASE_URL": server.url, **how}))
        engine.dispose()
    section = Section(
        "first_callback",
        "The webhook function's first callback (CPU)",
        ("environment", "import and INIT ms", "first callback ms", "a warm one ms", "compared with a warm one"),
    )
    for name, runs in taken.items():
        init, first, warm = (median(each) * 1000 for each in zip(*map(_figures, runs), strict=True))
        row = (name, f"{init:.0f}", f"{first:.2f}", f"{warm:.2f}", f"{first / warm:.1f}")
        section.rows.append(row)
        section.samples.append({"environment": name, "cpu_s": runs})
        if name == _GOAL:
            section.at_most(
                "first callback after INIT, provisioned, compared with a warm one", first / warm, 3, " times"
            )
    section.notes.append(
        "The secrets come from variables, so these figures do not include a request to Secrets Manager."
    )
    return [section]


def _figures(spent: list[float]) -> tuple[float, float, float]:
    """Return the CPU time in seconds for the import, for the first callback, and for a warm callback."""
    return spent[0], spent[1], median(spent[2:])


def _run(engine: Engine, environ: dict[str, str]) -> list[float]:
    with engine.begin() as connection:
        requests = [callback(insert_payment(connection, provider="ZALOPAY")) for _ in range(_CALLBACKS)]
    events: list[dict[str, Any]] = [
        {
            "version": "2.0",
            "rawPath": request.path,
            "rawQueryString": request.query,
            "headers": {},
            "requestContext": {"http": {"method": request.method}},
            "body": request.body.decode(),
        }
        for request in requests
    ]
    done = subprocess.run(  # noqa: S603 - the command is ours
        [sys.executable, "-c", _CHILD],
        input=json.dumps(events), capture_output=True, text=True, check=False,
        env={**processes.inherited(), **environ}, cwd=processes.ROOT,
    )  # fmt: skip
    if done.returncode != 0:
        raise processes.ChildFailedError(done.stderr[-600:])
    spent: list[float] = json.loads(done.stdout.splitlines()[-1])
    return spent
