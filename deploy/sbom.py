"""Write an SBOM (CycloneDX 1.6, JSON) for installed packages, and a list of the packages' licences.

    .venv-sbom/bin/python -m deploy.sbom --folder build/package/layer/python --target build/package
    sbom/bin/python deploy/sbom.py --interpreter /opt/payctl/bin/python --target /opt/payctl/share/payctl

cyclonedx-py reads the installed packages' metadata, not a lock file, so the SBOM lists what is shipped. It validates
the SBOM against CycloneDX's schema before it writes the file. The same packages give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SBOM, LICENCES = "sbom.cdx.json", "licences.txt"
SPECIFICATION = "1.6"
UNDECLARED = "unknown"

_CLASSIFIER = "License :: OSI Approved :: "
_DYNAMIC = 'dynamic = ["version"]'


def write(interpreter: str, target: Path) -> tuple[Path, Path]:
    """Write the SBOM and the licences for the packages that ``interpreter`` can import. Return the two paths.

    Raises:
        subprocess.CalledProcessError: the SBOM is not valid, or the interpreter cannot be run.
        ValueError: payctl's version was not found.
    """
    target.mkdir(parents=True, exist_ok=True)
    sbom, licences = target / SBOM, target / LICENCES
    tool = Path(sysconfig.get_path("scripts")) / "cyclonedx-py"
    options = ["--sv", SPECIFICATION, "--of", "JSON", "--output-reproducible", "--validate", "--mc-type", "application"]
    with tempfile.TemporaryDirectory() as place:
        about = Path(place) / "pyproject.toml"
        about.write_text(_about(), "utf-8")
        command = [str(tool), "environment", *options, "--pyproject", str(about), "--output-file", str(sbom)]
        subprocess.run([*command, interpreter], check=True, env=_bare())  # noqa: S603 - the tool is our own
    licences.write_text("".join(f"{line}\n" for line in licence_lines(json.loads(sbom.read_text("utf-8")))), "utf-8")
    return sbom, licences


@contextmanager
def environment_of(folder: Path) -> Iterator[str]:
    """Yield an interpreter with only the packages in ``folder``.

    The packages are not run, so they may be for any platform.
    """
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)  # noqa: S603 - our own
        own = sysconfig.get_path("purelib", vars={"base": place, "platbase": place})
        (Path(own) / "folder.pth").write_text(f"{folder.resolve()}\n", "utf-8")
        yield str(Path(place) / "bin" / "python")


def licence_lines(document: Mapping[str, Any]) -> list[str]:
    """Return one line for each component in an SBOM, with the name, version and licence separated by tabs."""
    return sorted(
        (f"{each['name']}\t{each['version']}\t{licence_of(each)}" for each in document["components"]), key=str.lower
    )


def licence_of(component: Mapping[str, Any]) -> str:
    """Return the licence that a component declares.

    Prefer the licence expression, then the licence ids, then the licence names. Older packages declare the licence
    twice, in a classifier and in free text.
    """
    found = component.get("licenses", [])
    expressions = [each["expression"] for each in found if "expression" in each]
    identifiers = [each["license"]["id"] for each in found if "id" in each.get("license", {})]
    names = [each["license"]["name"].splitlines()[0] for each in found if "name" in each.get("license", {})]
    chosen = expressions or identifiers or names or [UNDECLARED]
    return " AND ".join(dict.fromkeys(each.removeprefix(_CLASSIFIER) for each in chosen))


def _about() -> str:
    """Return pyproject.toml with the version added, because cyclonedx-py does not read the version from the code."""
    package = (ROOT / "ticketbottle_payctl" / "__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "([^"]+)"$', package, re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    if version is None or _DYNAMIC not in project:
        message = f"ticketbottle_payctl/__init__.py has no __version__ line, or pyproject.toml has no line {_DYNAMIC}"
        raise ValueError(message)
    return project.replace(_DYNAMIC, f'version = "{version[1]}"')


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def main() -> None:
    """Write both files and print their paths."""
    parser = argparse.ArgumentParser(prog="deploy/sbom.py", description="Write an SBOM and its list of licences.")
    packages = parser.add_mutually_exclusive_group(required=True)
    packages.add_argument("--interpreter", help="the Python whose packages are listed")
    packages.add_argument("--folder", type=Path, help="the folder that the packages were installed into")
    parser.add_argument("--target", type=Path, required=True, help="the folder to write to")
    given = parser.parse_args()
    if given.folder is None:
        made = write(given.interpreter, given.target)
    else:
        with environment_of(given.folder) as interpreter:
            made = write(interpreter, given.target)
    for path in made:
        print(path)  # noqa: T201


if __name__ == "__main__":
    main()
