"""Compare payctl's transaction for a callback with pgbench, which runs the same SQL over one connection."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from urllib.parse import urlsplit

from sqlalchemy import Engine

from benchmarks import processes
from benchmarks.counting_proxy import counting_proxy
from benchmarks.database import Database, database
from benchmarks.options import Options
from benchmarks.report import Section
from ticketbottle_payctl import providers
from ticketbottle_payctl.domain.callback import Callback, Request
from ticketbottle_payctl.jobs.process_webhook import WebhookOutcome, process_webhook
from ticketbottle_payctl.sandbox.callbacks import callback, environment
from ticketbottle_payctl.sandbox.payment_service import SandboxPayment
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings
from ticketbottle_payctl.store.db.engine import make_engine

PAYMENTS = """
    INSERT INTO payments (id, "orderCode", "amountCents", currency, provider, "providerTransactionId", "idempotencyKey",
        "redirectUrl", "paymentUrl", status, "updatedAt")
    SELECT '00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), 'TB-BENCH-20261123-' || lpad(n::text, 8, '0'), 250000,
        'VND', 'ZALOPAY', '261123_TB-BENCH-20261123-' || lpad(n::text, 8, '0'), n::text, '-', '-', 'PENDING', now()
    FROM generate_series(1, {}) AS n
"""
_EXPRESSIONS = {
    "id": "'00000000-0000-4000-8000-' || lpad((:payment)::text, 12, '0')",
    "order_code": "'TB-BENCH-20261123-' || lpad((:payment)::text, 8, '0')",
    "reference": "'261123_TB-BENCH-20261123-' || lpad((:payment)::text, 8, '0')",
}
_EVENT_ID = "'10000000-0000-4000-8000-' || lpad((:payment)::text, 12, '0')"
_RECEIPT_ID = "('20000000-0000-4000-8000-' || lpad((:payment)::text, 12, '0'))::uuid"
# The statement also checks that the event's time is less than a second ago, so the script uses the current time.
_NOW = "clock_timestamp() AT TIME ZONE 'UTC'"
_BETWEEN = re.compile(r";\s*(?=\S)")
_TOGETHER = r"\\;\n"  # pgbench also sends these statements in one message
_GATEWAY = providers.GATEWAYS["zalopay"]
_KEYS = environment()
_CREDENTIALS = providers.credentials(_GATEWAY, lambda name: (Secret(_KEYS[name]),))


def webhook(options: Options) -> list[Section]:
    """Measure payctl and pgbench in alternating turns of a few hundred callbacks.

    Return a section with the p50 and mean times for one callback.
    """
    section = Section(
        "webhook",
        "The webhook's transaction (one connection)",
        ("who", "p50 ms", "mean ms", "compared with pgbench's p50"),
    )
    pgbench = _pgbench()
    if pgbench is None:
        section.notes.append("Left out: pgbench was not found.")
        return [section]
    turn = 400 if options.runs > 1 else 50
    with database() as server:
        numbers = iter(range(1, 10**9))
        server.one(PAYMENTS.format(turn * (2 * options.runs + 2) + 10))
        server.one("VACUUM (ANALYZE) payments")
        engine = make_engine(DatabaseSettings(Secret(server.url)))
        script, trips = _script(server, next(numbers), next(numbers))
        ours: list[list[float]] = []
        theirs: list[list[float]] = []
        settle_callbacks(engine, [next(numbers) for _ in range(turn)])
        for _ in range(options.runs):
            processes.wait_for_quiet(options.patience)
            ours.append(settle_callbacks(engine, [next(numbers) for _ in range(turn)]))
            theirs.append(_theirs(server, pgbench, script, [next(numbers) for _ in range(turn)]))
        engine.dispose()
    proof = _verifying(options)
    p50 = [median(median(each) for each in taken) for taken in (ours, theirs)]
    means = [median(mean(each) for each in taken) for taken in (ours, theirs)]
    for name, middle, average in zip(("payctl, callback to reply", "pgbench, the same SQL"), p50, means, strict=True):
        section.rows.append((name, f"{middle:.3f}", f"{average:.3f}", f"{middle / p50[1]:.2f}"))
    section.notes.append(f"payctl's time includes {proof:.3f} ms for parsing the callback and verifying its signature.")
    section.samples += [{"payctl_ms": ours, "pgbench_ms": theirs, "verify_ms": proof, "round_trips": trips}]
    section.at_most(
        "webhook transaction, p50, compared with pgbench running the same SQL", (p50[0] - proof) / p50[1], 1.3, " times"
    )
    section.at_most("round trips of a webhook transaction, including BEGIN and COMMIT", trips, 4)
    return [section]


def _payment(number: int) -> tuple[SandboxPayment, Request]:
    payment = SandboxPayment(
        id=f"00000000-0000-4000-8000-{number:012d}",
        order_code=f"TB-BENCH-20261123-{number:08d}",
        amount=250_000,
        provider="ZALOPAY",
        reference=f"261123_TB-BENCH-20261123-{number:08d}",
    )
    return payment, callback(payment)


def settle_callbacks(engine: Engine, numbers: list[int]) -> list[float]:
    """Process a callback for each of these payments. Return how long each callback took, in milliseconds."""
    requests = [_payment(number)[1] for number in numbers]
    taken = []
    for request in requests:
        began = time.perf_counter()
        report = process_webhook(engine, request, _GATEWAY, _CREDENTIALS)
        taken.append((time.perf_counter() - began) * 1000)
        if report.outcome is not WebhookOutcome.SETTLED:
            message = f"a callback was not settled: {report.outcome} {report.reason}"
            raise processes.ChildFailedError(message)
    return taken


def _theirs(server: Database, pgbench: str, script: str, numbers: list[int]) -> list[float]:
    parts = urlsplit(server.url)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "script.sql"
        file.write_text(script, "utf-8")
        where = ["-h", "127.0.0.1", "-p", str(server.server.port), "-U", parts.username or "", parts.path.lstrip("/")]
        how = ["-n", "-c", "1", "-M", "simple", "-t", str(len(numbers)), "-D", f"payment={numbers[0] - 1}"]
        done = subprocess.run(  # noqa: S603 - the command is ours
            [pgbench, *how, "-f", str(file), "-l", "--log-prefix", f"{place}/log", *where],
            capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": parts.password or ""},
        )  # fmt: skip
        lines = [line.split() for log in Path(place).glob("log*") for line in log.read_text().splitlines()]
    settled = server.one(f"""SELECT count(*) FROM outbox WHERE "aggregateId" = '{_payment(numbers[-1])[0].id}'""")  # noqa: S608
    if done.returncode != 0 or settled != 1:
        message = f"pgbench did not do the same work\n{done.stderr[-600:]}"
        raise processes.ChildFailedError(message)
    return [int(line[2]) / 1000 for line in lines]


def _script(server: Database, warm: int, number: int) -> tuple[str, int]:
    """Return a pgbench script with the SQL for one callback, and the script's number of round trips."""
    payment, request = _payment(number)
    event_id, receipt_id = (f"{first}0000000-0000-4000-8000-{number:012d}" for first in (1, 2))
    ids = {event_id: _EVENT_ID, receipt_id: _RECEIPT_ID}
    unused = iter(ids)
    with counting_proxy(server.server.port) as proxy:
        settings = DatabaseSettings(Secret(server.url.replace(f":{server.server.port}/", f":{proxy.port}/")))
        engine = make_engine(settings)
        settle_callbacks(engine, [warm])
        turns, since = proxy.turns, len(proxy.said)
        report = process_webhook(engine, request, _GATEWAY, _CREDENTIALS, new_id=lambda: next(unused))
        turns, statements = proxy.turns - turns, proxy.statements(since)
        engine.dispose()
    texts = [_BETWEEN.sub(_TOGETHER, text.strip().rstrip(";")) for text in statements]
    script = "".join(f"{text};\n" for text in texts)
    named = {getattr(payment, name): expression for name, expression in _EXPRESSIONS.items()}
    at = report.event.created_at.replace(tzinfo=None).isoformat() if report.event else ""
    for value, expression in (named | ids | {at: _NOW}).items():
        script = script.replace(f"'{value}'", f"({expression})")
    return f"\\set payment :payment + 1\n{script}", turns


def _verifying(options: Options) -> float:
    """Return the median time for verifying one signature, in milliseconds."""
    request = _payment(1)[1]
    taken = []
    for _ in range(100 * options.runs):
        began = time.perf_counter()
        verified = _GATEWAY.verify(request, _CREDENTIALS)
        taken.append((time.perf_counter() - began) * 1000)
        if not isinstance(verified, Callback):
            raise TypeError
    return median(taken)


def _pgbench() -> str | None:
    packaged = [str(place) for place in sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))]
    found = packaged[-1] if packaged else shutil.which("pgbench")
    if found is None:
        sys.stderr.write("  pgbench was not found\n")
    return found
