"""Store the results, and read the list of equivalent mutants, which do not change the program's behaviour."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

EQUAL = Path(__file__).with_name("equal.toml")


@dataclass(frozen=True, slots=True)
class Result:
    """A mutant that was tried, and the test that noticed it. ``by`` is None if no test noticed the mutant."""

    room: str
    id: str
    line: int
    was: str
    became: str
    by: str | None

    @property
    def file(self) -> str:
        """The path of the changed file."""
        return self.id.partition(":")[0]


def same(one: Result, other: Result) -> bool:
    """Return whether two results belong to the same change."""
    return (one.id, one.was, one.became) == (other.id, other.was, other.became)


def read(file: Path) -> dict[str, Result]:
    """Return the stored results by mutant id. A later result replaces an earlier one."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return {one.id: one for one in (Result(**json.loads(line)) for line in lines)}


def keep(file: Path, result: Result) -> None:
    """Append a result to the results file."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")


def equal_ones() -> dict[tuple[str, str, str], str]:
    """Return the equivalent changes, by file and lines, each with the reason why it does not change the behaviour."""
    entries = tomllib.loads(EQUAL.read_text("utf-8")).get("equal", [])
    return {
        (file, one["was"], became): one["why"]
        for one in entries
        for file in several(one["file"])
        for became in several(one["became"])
    }


def several(text: str | list[str]) -> list[str]:
    """Return the texts of a field in equal.toml, which has one text or a list."""
    return [text] if isinstance(text, str) else text


def figures(results: Iterable[Result], equal: Iterable[tuple[str, str, str]]) -> tuple[int, int, int]:
    """Return the number of tried mutants, of noticed mutants, and of unnoticed mutants that are equivalent."""
    some, known = list(results), set(equal)
    noticed = sum(one.by is not None for one in some)
    alike = sum(one.by is None and (one.file, one.was, one.became) in known for one in some)
    return len(some), noticed, alike
