"""An in-memory file for inputs that payctl reads from a file."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """Return this process's scratch folder, which is removed when the process ends."""
    shared = Path("/dev/shm")  # noqa: S108 - the folder inside has a random name and mode 0700
    path = Path(tempfile.mkdtemp(prefix="payctl-fuzz-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def file_with(content: bytes, name: str = "input") -> Path:
    """Write the content to a file that only this user can open. Return its path."""
    path = folder() / name
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
