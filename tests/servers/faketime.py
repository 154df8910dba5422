"""Give a process a fake wall clock with libfaketime, and change the clock while the process runs."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final, Self

from ticketbottle_payctl.errors import ConfigError

_PLACES: Final = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")
_NAME: Final = "libfaketimeMT.so.1"


class FakeClock:
    """The clock for processes that start with its :attr:`environment`. ``file`` contains the clock's offset.

    The monotonic clock stays real, because in reality a change to the wall clock does not affect it.

    Raises:
        ConfigError: libfaketime is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._library = ""

    def __str__(self) -> str:
        return "libfaketime"

    def start(self) -> Self:
        """Find the library. The clock shows the real time until :meth:`set` is called."""
        found = [path for place in _PLACES for path in sorted(Path(place).glob(f"**/faketime/{_NAME}"))]
        if platform.system() != "Linux" or not found:
            message = "libfaketime was not found"
            raise ConfigError(message, hint="on Debian: apt-get install faketime")
        self._library = str(found[0])
        self.set("+0")
        return self

    def set(self, offset: str) -> None:
        """Set the clock's offset, such as ``+1d``, or set its time, such as ``@2026-11-01 01:30:00``."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables for a process with this clock."""
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
