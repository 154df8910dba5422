"""Run one process of ``make fuzz``.

The process tries inputs for a target until it reaches a number of inputs or the first finding.

The arguments after the target and the folder are passed to libFuzzer. atheris measures the coverage of payctl's own
code for libFuzzer.
"""

from __future__ import annotations

import sys
import time
from hashlib import sha256
from pathlib import Path

import atheris

from tests.fuzz.targets import TARGETS

MOST_CPU = 2.0
"""The maximum processor time, in seconds, for one input."""


def main() -> None:
    """Run libFuzzer, which ends the process.

    The first argument is the target, and the second is the folder for findings.
    """
    name, folder, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["ticketbottle_payctl", "lambda_entrypoints"]):
        check = TARGETS[name].load()

    def one_input(data: bytes) -> None:
        began = time.thread_time()
        try:
            check(data)
            used = time.thread_time() - began
            assert used < MOST_CPU, f"an input of {len(data)} bytes took {used:.1f} s of processor time"
        except Exception:
            _save(data, Path(folder))
            raise

    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


def _save(data: bytes, folder: Path) -> None:
    path = folder / f"failed-{sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    sys.stderr.write(f"failed input: {path}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
