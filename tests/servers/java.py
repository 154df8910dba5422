"""Start Java programs for tests and benchmarks. Maven downloads the jars, and recorded checksums verify them.

Each program's package has a ``pom.xml`` with the versions and a ``jars.sha256`` with the expected checksums. The jars
are stored in ``.kafka/`` in the current directory, or in the PAYCTL_KAFKA_HOME directory. The classes that a program
has loaded are stored next to them. After you change a version, run
``python -m tests.servers.java apache_kafka kafka_connect`` to update the checksums.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ticketbottle_payctl.errors import ConfigError, UnavailableError
from ticketbottle_payctl.sandbox.postgres_binaries import keep

if TYPE_CHECKING:
    from collections.abc import Callable

_COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_INSTALL: Final = "install Java 17 or newer and Maven, on Debian: apt-get install openjdk-17-jre-headless maven"
_QUICK_START: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")


@dataclass(frozen=True, slots=True)
class Program:
    """A Java program, described by the ``pom.xml`` and ``jars.sha256`` in ``directory``."""

    directory: Path

    @property
    def version(self) -> str:
        """The program's version. Only ``pom.xml`` contains the version."""
        return self._tag("version")

    @property
    def home(self) -> Path:
        """The path of the directory with the program's jars."""
        base = Path(os.environ.get("PAYCTL_KAFKA_HOME") or ".kafka").absolute()
        return base / f"{self._tag('artifactId')}-{self.version}"

    def class_path(self) -> str:
        """Return the class path. Download the jars only the first time, and verify them once in each process.

        Raises:
            ConfigError: Java or Maven is missing, or a jar does not have the recorded checksum.
            UnavailableError: Maven could not download the jars.
        """
        find_java()
        if not self.home.exists():
            unfinished = self.home.with_name(f"unfinished-{secrets.token_hex(8)}")
            self.fetch(unfinished)
            keep(unfinished, self.home)
        _verify(self, self.home)
        return f"{self.home}/*"

    @property
    def classes(self) -> Path:
        """The path of the archive of loaded classes, for this Java and these jars. The file might not exist."""
        program = Path(find_java()).resolve()
        known = f"{program} {program.stat().st_mtime_ns} {self.home}"
        return self.home.with_name(f"{self.home.name}-{hashlib.sha256(known.encode()).hexdigest()[:16]}.jsa")

    def command(self, main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the command that runs ``main``. If :attr:`classes` exists, a start takes half of its time."""
        shared = (f"-XX:SharedArchiveFile={self.classes}",) if self.classes.exists() else ()
        return java(self.class_path(), main, *arguments, options=(*shared, *options))

    def share_classes(self, run: Callable[[str], object]) -> None:
        """Create the archive of loaded classes if it does not exist. The archive makes later starts faster.

        ``run`` runs the program once with the given option, which makes Java write the archive.
        """
        wanted = self.classes
        with wanted.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not wanted.exists():
                unfinished = wanted.with_suffix(".unfinished")
                run(f"-XX:ArchiveClassesAtExit={unfinished}")
                with suppress(FileNotFoundError):  # some Java versions cannot write the archive
                    unfinished.rename(wanted)

    def fetch(self, target: Path) -> None:
        """Run Maven, which copies the jars into ``target``."""
        maven = shutil.which("mvn")
        if maven is None:
            message = "Maven (mvn) was not found"
            raise ConfigError(message, hint=_INSTALL)
        options = ["-q", "-B", "-f", str(self.directory / "pom.xml"), "-DincludeScope=runtime"]
        command = [maven, *options, f"-DoutputDirectory={target}", _COPY]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"Maven could not fetch the jars of {self.directory.name}\n{done.stdout[-2000:]}"
            raise UnavailableError(message, hint="check the network, then try again")

    def record(self) -> int:
        """Download the jars again and write their checksums. Return the number of jars."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.fetch(self.home)
        found = _checksums(self.home)
        lines = [f"{checksum}  {name}\n" for name, checksum in sorted(found.items())]
        (self.directory / "jars.sha256").write_text("".join(lines))
        return len(lines)

    def _tag(self, name: str) -> str:
        found = re.search(rf"<{name}>([^<]+)</{name}>", (self.directory / "pom.xml").read_text())
        if found is None:
            message = f"{self.directory / 'pom.xml'} has no {name}"
            raise ConfigError(message)
        return found.group(1)


@cache
def _verify(program: Program, home: Path) -> None:
    lines = (program.directory / "jars.sha256").read_text().splitlines()
    expected = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    found = _checksums(home)
    wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if wrong:
        message = f"the checksums of these jars are not the recorded ones: {', '.join(wrong[:5])}"
        raise ConfigError(message, hint=f"remove {home} and try again")


def java(class_path: str, main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the command that runs ``main``. The Java options make the start faster but the running program slower."""
    return [find_java(), *_QUICK_START, *options, "-cp", class_path, main, *arguments]


def find_java() -> str:
    """Return the path of the java program in ``JAVA_HOME``, or in PATH if ``JAVA_HOME`` is not set.

    Raises:
        ConfigError: Java is missing.
    """
    home = os.environ.get("JAVA_HOME")
    program = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if program is None:
        message = "Java was not found"
        raise ConfigError(message, hint=_INSTALL)
    return program


def properties(values: dict[str, str]) -> str:
    """Return the text of a Java properties file. Each backslash in a value is doubled."""
    escaped = {name: value.replace("\\", "\\\\") for name, value in values.items()}
    return "".join(f"{name}={value}\n" for name, value in escaped.items())


def _checksums(directory: Path) -> dict[str, str]:
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in directory.glob("*.jar")}


if __name__ == "__main__":
    for package in sys.argv[1:]:
        recorded = Program(Path(__file__).with_name(package)).record()
        sys.stdout.write(f"{package}: {recorded} jars recorded\n")
