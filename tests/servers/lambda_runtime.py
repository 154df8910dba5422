"""AWS's runtime on loopback. The interface emulator starts AWS's Python client, which calls payctl's handler.

The emulator and the client come from wheels in a separate environment (``make functions``), which has Lambda's Python
version.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.server import Server, free_port, wait_until

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-lambda/bin/python"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
_INVOKE = "http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"


@dataclass(frozen=True)
class Answer:
    """The result of an invocation. ``size`` is in bytes."""

    payload: object
    size: int
    seconds: float


class Function:
    """A function's execution environment. The first invocation initialises it.

    ``timeout`` is the function's timeout in whole seconds. :meth:`lines` returns the function's output.
    """

    def __init__(self, name: str, environ: dict[str, str], *, timeout: int = 60) -> None:
        binary = next(ROOT.glob(f".venv-lambda/lib/python*/site-packages/samcli/local/rapid/*-{ARCHITECTURE}"), None)
        if binary is None or not PYTHON.exists():
            message = "the environment of AWS's runtime is missing"
            raise ConfigError(message, hint="run `make functions`")
        self.port = free_port()
        self.server = Server("lambda", last_signal=signal.SIGTERM)
        limits = {"AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout), "AWS_LAMBDA_FUNCTION_NAME": f"payctl-{name}"}
        addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"]
        addresses += ["--runtime-api-address", f"127.0.0.1:{free_port()}"]
        self.server.run(
            [str(binary), *addresses, str(PYTHON), "-m", "awslambdaric", f"lambda_entrypoints.{name}.handler"],
            {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", **_IDENTITY, **limits, **environ},
        )
        self.server.wait_until(self._listens, what="the runtime interface emulator listens", timeout=20)

    def invoke(self, event: object, *, patience: float = 90.0) -> Answer:
        """Invoke the function and wait for its result.

        If the handler raises an exception, the result's payload is Lambda's description of the error.
        """
        request = urllib.request.Request(_INVOKE.format(port=self.port), json.dumps(event).encode())  # noqa: S310 - our own server
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=patience) as answer:  # noqa: S310
                data = answer.read()
        except urllib.error.HTTPError as error:  # the runtime ended without a response
            with error:
                data = error.read()
        try:
            payload = json.loads(data)
        except ValueError:
            payload = data.decode()
        return Answer(payload, len(data), time.monotonic() - began)

    def lines(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the JSON lines that the function printed. These are logs and metrics.

        ``wanted`` selects the lines that have these values.
        """
        found = [_parsed(line) for line in self.server.log.read_text(errors="replace").splitlines()]
        return [line for line in found if line is not None and wanted.items() <= line.items()]

    def text(self) -> str:
        """Return everything that the function printed."""
        return self.server.log.read_text(errors="replace")

    def sums(self, dimension: str = "function") -> dict[str, float]:
        """Return, for one dimension, the sum of each metric over all invocations."""
        found: dict[str, float] = {}
        for line in self.lines():
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
                for metric in directive["Metrics"] if dimension in directive["Dimensions"][0] else []:
                    value = line[metric["Name"]]
                    found[metric["Name"]] = found.get(metric["Name"], 0) + (
                        sum(value) if isinstance(value, list) else value
                    )
        return found

    @property
    def pid(self) -> int | None:
        """The id of the runtime's process, or None if the process is not running."""
        tasks = Path(f"/proc/{self.server.pid}/task")
        children = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
        return int(children[0]) if children else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the runtime. STOP and CONT imitate how Lambda freezes a function between two invocations."""
        pid = self.pid
        assert pid is not None
        os.kill(pid, number)

    def wait_for(self, text: str, *, timeout: float = 30.0) -> None:
        """Wait until the function has printed this text."""
        self.server.wait_until(lambda: text in self.text(), what=f"it prints {text}", timeout=timeout)

    def close(self) -> None:
        """Stop the function and its processes."""
        pid = self.pid if self.server.running else None
        self.server.stop(signal.SIGTERM, timeout=5)
        if pid is not None:
            wait_until(lambda: not _runs(pid), what="the runtime has ended", timeout=10)
        self.server.close()

    def _listens(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True


_IDENTITY = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "ap-southeast-1"}


def _runs(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
