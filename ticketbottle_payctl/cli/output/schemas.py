"""Load the JSON Schemas of payctl's outputs, for ``payctl schema`` and for the tests that validate the outputs."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ticketbottle_payctl.errors import NotFoundError

_ENVELOPE = "envelope-1.json"


def names() -> list[str]:
    """Return the name of every schema, such as ``payctl.stats/1``."""
    found = [
        entry.name.removesuffix(".json")
        for entry in files("ticketbottle_payctl.schemas").iterdir()
        if entry.name.startswith("payctl.")
    ]
    return sorted("/".join(name.rsplit("-", 1)) for name in found)


def complete_names(incomplete: str) -> list[str]:
    """Return the schema names that begin with ``incomplete``, for a shell's completion."""
    return [name for name in names() if name.startswith(incomplete)]


def load(name: str) -> dict[str, Any]:
    """Return one complete schema. The parts that all outputs share are under ``$defs``.

    Raises:
        NotFoundError: no schema has this name.
    """
    wanted = "-".join(name.split()).removeprefix("payctl.")
    known = {each: each.removeprefix("payctl.") for each in names()}
    for full, short in known.items():
        if wanted in {short, short.partition("/")[0]}:
            schema: dict[str, Any] = _read(full.replace("/", "-") + ".json")
            return {**schema, "$defs": {"envelope": _read(_ENVELOPE)}}
    message = f"no schema is named {name}"
    raise NotFoundError(message, hint=f"one of: {', '.join(known)}")


def _read(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(files("ticketbottle_payctl.schemas").joinpath(file).read_text("utf-8"))
    return loaded
