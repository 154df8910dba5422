"""Create a virtual environment for each peer on first use, with the versions that the peer's requirements file pins."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.processes import ROOT

_HERE = Path(__file__).parent


class PeerMissingError(Exception):
    """A peer is not available. The message says why."""


def interpreter(peer: str) -> str:
    """Return the Python interpreter in the environment for ``requirements-PEER.txt``.

    Raises:
        PeerMissingError: the environment cannot be created.
    """
    requirements = _HERE / f"requirements-{peer}.txt"
    name = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = Path(os.environ.get("PAYCTL_PEERS_HOME") or ROOT / ".venv-peers") / f"{peer}-{name}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, clear=True)
        # The new environment may have no pip, because its interpreter may lack ensurepip. So this environment's pip
        # installs the packages.
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["pip failed"]
            message = f"it could not be installed: {said[-1]}"
            raise PeerMissingError(message)
        (home / "ready").touch()
    return str(python)
