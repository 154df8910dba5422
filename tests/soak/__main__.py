"""Run ``make soak``, which runs publishers, webhooks and operators' commands together under random faults.

The seed determines the faults. The operators' commands are replay, cleanup and reconcile. The checker counts duplicate
messages that a fault can cause, but does not report them as errors.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from threading import Event

from tests.soak import page
from tests.soak.course import Secrets, Size, prepare_database, run
from tests.soak.faults import plan
from tests.soak.world import RealBroker
from ticketbottle_payctl.sandbox.postgres import Postgres
from ticketbottle_payctl.sandbox.server import in_memory

USUAL_PER_MINUTE = 12.0


_HELP = """Run payctl under load with random faults, against a real PostgreSQL and a real Kafka on 127.0.0.1. At the
end, check messages, payments, receipts, the archive, runs, secrets, growth and times, and exit with 0 if nothing is
wrong. Press Ctrl-C to stop the faults early and check the run so far. All servers and files are removed at the end."""
"""The description in ``--help``."""


def arguments() -> argparse.ArgumentParser:
    """Return the parser for the command line."""
    parser = argparse.ArgumentParser(prog="make soak", description=_HELP)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--faults", type=int, help="number of faults [default: 12 a minute]")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - not for secrets
    parser.add_argument("--outage", type=float, default=120.0, help="seconds that the long outage lasts, or 0 for none")
    parser.add_argument("--publishers", type=int, default=3, help="number of publishers, 1 to 8 [default: 3]")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second [default: 200]")
    parser.add_argument("--payments", type=float, default=8.0, help="new payments a second [default: 8]")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="factor for the time limits, if the machine also does other work"
    )
    parser.add_argument("--page", action="store_true", help="add the run to docs/explanation/reliability.md")
    return parser


def main() -> int:
    """Run the soak, print its report, and remove its servers and files. Return the exit code."""
    parser = arguments()
    given = parser.parse_args()
    given.faults = given.faults or round(USUAL_PER_MINUTE * given.minutes)
    repro = " ".join(f"--{name} {value:g}" for name, value in vars(given).items() if name != "page")
    sys.stderr.write(f'seed {given.seed}; again: make soak ARGS="{repro}"\n')
    try:
        faults = plan(given.seed, 60 * given.minutes, outage=given.outage, number=given.faults)
    except ValueError as error:
        parser.error(str(error))
    enough = Event()
    signal.signal(signal.SIGINT, lambda *_: enough.set())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = datetime.now(UTC)
    size = Size(publishers=given.publishers, shards=given.shards, events=given.rate, payments=given.payments)
    with ExitStack() as stack:
        postgres = stack.enter_context(
            Postgres(binaries=os.environ.get("PAYCTL_TEST_POSTGRES", "wheel"), within=in_memory())  # type: ignore[arg-type]
        )
        secrets = Secrets()
        found = run(
            stack,
            faults,
            60 * given.minutes,
            seed=given.seed,
            size=size,
            postgres=postgres,
            url=prepare_database(postgres, secrets),
            broker=RealBroker(stack),
            secrets=secrets,
            enough=enough,
            patience=given.patience,
        )
    whole = {"date": f"{began:%Y-%m-%d}", "seed": given.seed, "repeat": repro, **found}
    sys.stdout.write(json.dumps(whole, indent=2) + "\n")
    if given.page:
        page.add(whole)
    sys.stderr.write(f'{"FAILED" if found["wrong"] else "good"}; again: make soak ARGS="{repro}"\n')
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
