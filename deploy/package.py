"""Build the two zips for Lambda: one with the dependencies (the layer), and one with the code.

    python -m deploy.package --interpreter python3.13 [--arch x86_64] [--lock locks/otel.txt] [--ca bundle.pem]

The dependencies are the locked wheels for Amazon Linux 2023, which are checked by hash. Both zips contain bytecode for
the runtime's Python version. Lambda's folders are read-only, so without bytecode every cold start would compile the
code again. The same sources always give the same bytes, because file names are sorted and timestamps are fixed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import ssl
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from deploy.sources import RECORD, packed_modules, record

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = "3.13"
ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}
DEFAULT_ARCHITECTURE, SPANS_LOCK = "arm64", "otel.txt"
GLIBC = ("manylinux_2_28", "manylinux2014", "manylinux_2_17")
"""The platform tags of the wheels. With only an old tag, pip would find a much older Kafka client, or none."""

LAYER, CODE = "dependencies.zip", "code.zip"
CA_FILE = "payctl-ca.pem"
"""The name of the ``--ca`` file in the layer. The functions read it as ``/opt/payctl-ca.pem``."""

BUDGETS = {LAYER: (29_000_000, 84_000_000), CODE: (900_000, 2_000_000)}
"""The maximum size of each zip in bytes, zipped and unzipped, with the otel extra.

In the layer, the libraries for sending requests to the gateways take about 5 MB zipped and 15 MB unzipped. Lambda
accepts 50 MB in one request, and 250 MB unzipped in total.
"""

_TEST_FOLDERS = {"test", "tests", "testing"}
_DEVELOPMENT = {".pyi", ".pyx", ".pxd", ".c", ".h"}
_INSTALLER = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


class Artifact(NamedTuple):
    """A zip and its sizes. ``sha256`` is the hash of the zip file."""

    path: Path
    zipped: int
    unzipped: int
    sha256: str


class Build(NamedTuple):
    """The hashes of a build's two zips. The same sources always give the same hashes."""

    code: str
    layer: str

    @classmethod
    def in_folder(cls, folder: Path) -> Build:
        """Return the build in ``folder``.

        Raises:
            FileNotFoundError: the folder does not contain a build.
        """
        return cls(*(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CODE, LAYER)))


class OverBudgetError(Exception):
    """A zip is larger than its budget."""


class CertificatesError(Exception):
    """The ``--ca`` file does not exist, or does not contain a certificate."""


def build(  # noqa: PLR0913 - each is a choice for the caller
    target: Path,
    *,
    interpreter: str,
    arch: str = DEFAULT_ARCHITECTURE,
    lock: Path = ROOT / "locks" / "layer.txt",
    ca: Path | None = None,
    source: Path = ROOT,
) -> tuple[Artifact, ...]:
    """Build both zips in ``target`` from the packages in ``source``.

    ``interpreter`` is a CPython interpreter with the same version as the runtime.

    Raises:
        CertificatesError: ``ca`` does not exist or does not contain a certificate. The previous build stays.
        OverBudgetError: a zip is larger than its budget.
        subprocess.CalledProcessError: a wheel is missing or has the wrong hash, or a file cannot be compiled.
    """
    if ca is not None:
        _check_certificates(ca)
    # The record is made first. If a source changes during the build, `make deploy` then refuses the build.
    sources = record(source, lock, _options(arch, lock, ca), ca)
    shutil.rmtree(target, ignore_errors=True)
    layer, code = target / "layer", target / "code"
    _install(layer / "python", interpreter, arch, lock)
    if ca is not None:
        shutil.copyfile(ca, layer / CA_FILE)
    for module in packed_modules(source):
        copy = code / module.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)
    _compile(layer / "python", interpreter, "/opt/python")
    _compile(code, interpreter, "/var/task")
    made = _zipped(layer, target / LAYER), _zipped(code, target / CODE)
    (target / RECORD).write_text(sources, "utf-8")
    return made


def _options(arch: str, lock: Path, ca: Path | None) -> list[str]:
    """Return the options that ``make package`` needs to repeat this build."""
    spans = ["SPANS=1"] if lock.name == SPANS_LOCK else []
    return [*([f"ARCH={arch}"] if arch != DEFAULT_ARCHITECTURE else []), *([f"CA={ca}"] if ca else []), *spans]


def _check_certificates(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError as error:  # ssl.SSLError is an OSError too
        message = f"cannot read certificates from {file}: {error.strerror or error}"
        raise CertificatesError(message) from error


def _install(folder: Path, interpreter: str, arch: str, lock: Path) -> None:
    machine = ARCHITECTURES[arch]
    platforms = [word for tag in GLIBC for word in ("--platform", f"{tag}_{machine}")]
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet", "--root-user-action=ignore"]
    kinds = ["--no-compile", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", RUNTIME]
    wanted = ["--target", str(folder), "--require-hashes", "-r", str(lock)]
    subprocess.run([*pip, *kinds, *platforms, *wanted], check=True)  # noqa: S603
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and path.name in _TEST_FOLDERS:
            shutil.rmtree(path)
        elif path.suffix in _DEVELOPMENT or path.name in _INSTALLER:
            path.unlink()
    shutil.rmtree(folder / "bin", ignore_errors=True)


def _compile(folder: Path, interpreter: str, seen_as: str) -> None:
    """Compile the folder.

    The bytecode does not depend on the sources' timestamps, because the zip does not keep them.
    """
    command = [interpreter, "-I", "-m", "compileall", "-qq", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(folder), "-p", seen_as, str(folder)], check=True)  # noqa: S603


def _zipped(folder: Path, target: Path) -> Artifact:
    unzipped = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
            content = path.read_bytes()
            unzipped += len(content)
            archive.writestr(entry, content)
    zipped, budget = target.stat().st_size, BUDGETS[target.name]
    if zipped > budget[0] or unzipped > budget[1]:
        message = (
            f"{target.name} is over its budget: {zipped:,} bytes zipped (limit {budget[0]:,}),"
            f" {unzipped:,} unzipped (limit {budget[1]:,})"
        )
        raise OverBudgetError(message)
    return Artifact(target, zipped, unzipped, hashlib.sha256(target.read_bytes()).hexdigest())


def main() -> int:
    """Build both zips and print their sizes. Return the exit code."""
    parser = argparse.ArgumentParser(prog="make package", description="Build the zips for AWS Lambda.")
    parser.add_argument("--interpreter", required=True, help=f"a CPython {RUNTIME}")
    parser.add_argument("--arch", choices=sorted(ARCHITECTURES), default=DEFAULT_ARCHITECTURE)
    parser.add_argument(
        "--lock",
        type=Path,
        default=ROOT / "locks" / "layer.txt",
        help="lock file of the packages; locks/otel.txt adds spans",
    )
    parser.add_argument("--ca", type=Path, help="PEM certificates to trust; /opt/payctl-ca.pem in the functions")
    parser.add_argument("--target", type=Path, default=ROOT / "build" / "package")
    given = parser.parse_args()
    choices = {"interpreter": given.interpreter, "arch": given.arch, "lock": given.lock, "ca": given.ca}
    try:
        made = build(given.target.resolve(), **choices)
    except (CertificatesError, OverBudgetError) as error:
        sys.stderr.write(f"cannot build: {error}\n")
        return 2
    for one in made:
        share = f"{one.zipped / 1e3:,.0f} of {BUDGETS[one.path.name][0] / 1e3:,.0f} kB"
        print(f"{one.path}  {share}, {one.unzipped / 1e6:.1f} MB unzipped, sha256 {one.sha256}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
