"""Find the sources of a build, and detect a build whose sources have changed since.

``make package`` writes the hash of each source next to the zips. ``make deploy`` refuses zips that were built from
other sources than those in the clone. Otherwise it would deploy an old version without a warning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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


def record(source: Path, lock: Path, options: Sequence[str]) -> str:
    """Return the record of a build as JSON: its options for ``make package``, its lock file and its sources' hashes."""
    place = lock.resolve()
    name = str(place.relative_to(source.resolve())) if place.is_relative_to(source.resolve()) else str(place)
    made = {"options": list(options), "lock": name, "sources": _hashes(source, place)}
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def outdated(package: Path, root: Path) -> str | None:
    """Return a sentence if the build in ``package`` was made from other sources than those in ``root``."""
    known = _read(package / RECORD)
    if known is None:
        return f"the build has no readable {RECORD}, which names its sources: run `make package` again"
    before, now = known["sources"], _hashes(root, root / known["lock"])
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not changed:
        return None
    command = " ".join(["make package", *known["options"]])
    return f"the build is not from these sources, because {_listed(changed)} changed: run `{command}` again"


def _hashes(source: Path, lock: Path) -> dict[str, str]:
    """Return the hash of each packed module, of the lock file and of the script that builds."""
    files = {str(path.relative_to(source)): path for path in packed_modules(source)}
    files |= {str(_BUILDER): source / _BUILDER, f"locks/{lock.name}": lock}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()}


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
