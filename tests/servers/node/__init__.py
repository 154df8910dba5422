"""Run the JavaScript libraries with which merchants verify callbacks, in the machine's Node.js.

``package-lock.json`` has the exact version and the checksum of each package. After you change ``package.json``, run
``npm install --package-lock-only`` in this directory to update the lock.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypedDict

from ticketbottle_payctl.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE: Final = Path(__file__).parent
_FILES: Final = ("package.json", "package-lock.json", ".npmrc", "judge.cjs")
_INSTALL: Final = "install Node.js 18 or newer and npm, on Debian: apt-get install nodejs npm"


class SentCallback(TypedDict):
    """A callback as the gateway sends it. ``sent`` is the callback's body or VNPay's query.

    ``keys`` contains the merchant's keys.
    """

    gateway: str
    sent: str
    keys: Mapping[str, str]


class GatewayLibraries:
    """The JavaScript libraries, installed in their own directory.

    Call :meth:`start` first and :meth:`close` at the end.

    Raises:
        ConfigError: Node.js or npm is missing.
    """

    def __init__(self) -> None:
        self._node, self._npm = _found("node"), _found("npm")
        self._home = Path(tempfile.mkdtemp(prefix="payctl-node-"))

    def __str__(self) -> str:
        return "Node.js"

    def start(self) -> Self:
        """Install the packages. npm verifies the checksums and runs no package scripts.

        Raises:
            UnavailableError: npm could not download a package, or a checksum is wrong.
        """
        for name in _FILES:
            shutil.copy(_HERE / name, self._home)
        options = ("--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
        done = self._run(self._npm, "ci", *options)
        if done.returncode != 0:
            self.close()
            message = f"npm could not install the gateways' libraries\n{done.stderr[-2000:]}"
            raise UnavailableError(message, hint="check the network, then try again")
        return self

    def verdicts(self, callbacks: Sequence[SentCallback]) -> list[str]:
        """Return the library's verdict on each callback. A verdict is an empty string or the reason for a refusal."""
        done = self._run(self._node, "judge.cjs", sent=json.dumps(callbacks))
        if done.returncode != 0:
            message = f"node failed\n{done.stderr[-2000:]}"
            raise UnavailableError(message)
        found: list[str] = json.loads(done.stdout)
        return found

    def close(self) -> None:
        """Remove the directory with the libraries."""
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, *command: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self._home, input=sent, capture_output=True, encoding="utf-8", timeout=120, check=False
        )


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        message = f"{program} was not found"
        raise ConfigError(message, hint=_INSTALL)
    return path
