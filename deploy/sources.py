"""Find the sources of a build, and detect a build whose sources have changed since.

``make package`` writes the hash of each source next to the zips. ``make deploy`` refuses zips that were built from
other sources than those in the clone. Otherwise it would deploy an old version without a warning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

RECORD = "sources.json"
"""The file next to the zips with the sources' hashes and the options of the build."""

_DOORS = "lambda_entrypoints"
_BUILDER = Path("deploy") / "package.py"
_MOST_NAMED = 3


def packed_modules(source: Path) -> list[Path]:
    """Return the entrypoints' files and all payctl modules that they import, including imports inside functions."""
    finder = ModuleFinder(path=[str(source)])
    for entrypoint in sorted((source / _DOORS).rglob("*.py")):
        finder.import_hook(".".join(entrypoint.relative_to(source).with_suffix("").parts).removesuffix(".__init__"))
    files = {Path(file) for module in finder.modules.values() if (file := getattr(module, "__file__", None))}
    return sorted(files)


def record(source: Path, lock: Path, options: Sequence[str], ca: Path | None = None) -> str:
    """Return the record of a build as JSON.

    The result contains the options for ``make package``, the lock file, the file with certificates and the sources'
    hashes.
    """
    made = {"options": list(options), "lock": _name(source, lock), "sources": _hashes(source, lock, ca)}
    return json.dumps(made | {"ca": _name(source, ca) if ca else None}, indent=1, sort_keys=True) + "\n"


def outdated(package: Path, root: Path) -> str | None:
    """Return a sentence if the build in ``package`` was made from sources that differ from the sources in ``root``."""
    known = _read(package / RECORD)
    if known is None:
        return f"the build has no readable {RECORD}, which names its sources: run `make package` again"
    ca = _certificates(known, root)
    before, now = known["sources"], _hashes(root, root / known["lock"], ca)
    compared = before.keys() | now.keys()
    if ca and not ca.exists():
        compared -= {known["ca"]}
    changed = sorted(name for name in compared if before.get(name) != now.get(name))
    if not changed:
        return None
    command = " ".join(["make package", *known["options"]])
    return f"the build is not from these sources, because {_listed(changed)} changed: run `{command}` again"


def not_compared(package: Path, root: Path) -> list[str]:
    """Return a sentence if the file with the build's certificates no longer exists. The build contains a copy."""
    known = _read(package / RECORD)
    ca = _certificates(known, root) if known else None
    if known is None or ca is None or ca.exists():
        return []
    return [f"{known['ca']} does not exist, so it was not compared with the build's certificates"]


def _hashes(source: Path, lock: Path, ca: Path | None) -> dict[str, str]:
    """Return the hash of each packed module, the lock file, the certificates and the script that builds."""
    files = {_name(source, path): path for path in (*packed_modules(source), *([ca] if ca else []))}
    files |= {str(_BUILDER): source / _BUILDER, f"locks/{lock.name}": lock}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


def _name(source: Path, file: Path) -> str:
    """Return a file's path in ``source``, or its absolute path if the file is in another folder.

    Do not resolve links. Otherwise a link that now leads to another file would not count as a change.
    """
    place, folder = file.absolute(), source.absolute()
    return str(place.relative_to(folder) if place.is_relative_to(folder) else place)


def _certificates(known: Mapping[str, Any], root: Path) -> Path | None:
    return root / name if (name := known.get("ca")) else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and found.keys() >= {"options", "lock", "sources"}
    return found if whole else None


def _listed(names: Sequence[str]) -> str:
    shown, more = names[:_MOST_NAMED], len(names) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(shown)} and {more} more file{'s' if more > 1 else ''}"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
