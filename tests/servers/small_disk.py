"""Mount a small file system in memory. A test can fill this file system to give a server a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.service import Service

_PIECE: Final = 64 * 1024


class SmallDisk(Service):
    """A tmpfs of ``megabytes`` at ``path``. Use it as a context manager or with :meth:`start` and :meth:`close`.

    Raises: ConfigError: This process is not allowed to mount a file system. Only root is.
    """

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self.path = Path()

    def start(self) -> Self:
        """Mount the file system. Every user can write to it."""
        self.path = Path(tempfile.mkdtemp(prefix="payctl-small-disk-"))
        options = f"size={self._megabytes}m,mode=1777"
        command = ["/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.path.rmdir()
            message = f"a small file system could not be mounted: {done.stderr.strip()}"
            raise ConfigError(message, hint="run as root")
        return self

    def close(self) -> None:
        """Unmount the file system. Its content is lost."""
        subprocess.run(["/bin/umount", "--lazy", str(self.path)], check=True, capture_output=True)
        self.path.rmdir()

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """Write to the file system until no byte is free."""
        with self._filler.open("ab", buffering=0) as file:
            piece = bytes(_PIECE)
            while piece:
                try:
                    file.write(piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece = piece[: len(piece) // 2]
            os.fsync(file.fileno())

    def free(self) -> None:
        """Remove the file with which :meth:`fill` used up the space."""
        self._filler.unlink()
