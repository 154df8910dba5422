"""``python -m tests.acceptance.debian_root DIRECTORY PACKAGE...`` unpacks a new Debian system into a directory.

The system contains Python, pip and the given packages. debootstrap builds the base system once, and a cache keeps it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ticketbottle_payctl.sandbox.postgres_binaries import cache_home

SUITE = "bookworm"
BASE = ("python3", "python3-pip")


def unpack(target: Path, packages: list[str]) -> None:
    """Unpack Debian into the empty directory ``target`` and install ``packages`` in it.

    The function needs root privileges and debootstrap.
    """
    archive = cache_home() / f"debian-{SUITE}.tar"
    with archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            make(archive)
    run("tar", "-x", "-p", "-f", archive, "-C", target)
    target.chmod(0o755)  # every user must be able to enter /, but the directory in the archive was private
    shutil.copy("/etc/resolv.conf", target / "etc")
    run("chroot", target, "apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages)
    run("chroot", target, "apt-get", "clean")


def make(archive: Path) -> None:
    """Write ``archive`` completely or not at all, even if the process is killed."""
    unfinished = archive.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory() as root:
        run("debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", SUITE, root)
        run("tar", "-c", "-p", "-f", unfinished, "--exclude=./proc/*", "-C", root, ".")
    unfinished.rename(archive)


def run(*command: str | Path) -> None:
    """Run a command in Debian's noninteractive mode. Raise CalledProcessError if it fails."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), sys.argv[2:])
