"""Run the commands in the README and the tutorials, and create the excerpts and pictures from the output.

``make pictures`` runs this script. With ``--check``, the script only names the files that would change, and exits with
1 if there are any.

A page has its commands in ``sh`` blocks. A ``text`` block after them is an excerpt from the last command's output. The
excerpt has the first lines of the output, or lines from the middle if the excerpt begins with ``...``. The script adds
``...`` where lines are left out. A page's commands run in order in one ``payctl demo --keep``. A command
must exit with 0, unless the text after the command's block says "exit code N". If only ids, times and similar values
have changed, an excerpt or picture stays unchanged.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from rich.terminal_theme import TerminalTheme

from docs.demo_terminal import ANSI, ROOT, Ran, demo
from docs.terminal_svg import SVG, THEMES, svg

PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorials" / "first-stuck-event.md")
PICTURES = ROOT / "docs" / "pictures"
CUT = "..."
"""The line that stands for the lines that an excerpt leaves out."""


RUN_ELSEWHERE = {
    "make demo": ".ci/bare",
    "make test": ".ci/bare",
    "python3 -m venv .venv": "tests/docs/test_readme.py",
    ".venv/bin/pip install": "tests/docs/test_readme.py",
    "export PATH=": "tests/docs/test_readme.py",
}
"""The commands in the pages that this script does not run, and the files that run these commands."""

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
EXIT_CODE = re.compile(r"exit\s+code\s+(?:is\s+)?(\d+)")
RESET = "\x1b[0m"

VARYING = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\d{6}_[0-9a-f]{12}|\b\d{12,15}\b", "<reference>"),
        (r"\btransfer \d{10}\b", "transfer <reference>"),
        (r"TB-DEMO-\d{8}-[0-9A-F]{8}", "<order>"),
        (r"\b[0-9a-f]{8}\b", "<id>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?", "<instant>"),
        (r"\b\d\d:\d\d(?::\d\d)?\b", "<instant>"),
        (r"\b\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b|\b\d{4}-\d\d-\d\d\b", "<instant>"),
        (r"\b\d[\d.,]* (?:ms|s|min|h) ago\b|\bjust now\b", "<age>"),
        (r"\b\d[\d.,]* (?:ms|s|min|h)\b", "<duration>"),
        (r"\b\d[\d.,]*/s\b", "<rate>"),
        (r"127\.0\.0\.1:\d+", "<address>"),
        (r"partition \d+, offset \d+", "<place>"),
        (r"PostgreSQL \S+ \(\w+\)", "<server>"),
        (r"[^\s']*/payctl-demo-\w+", "<directory>"),
        (r"[▁▂▃▄▅▆▇█]+", "<chart>"),
        (r"[─━]+", "─"),
        (r" +", " "),
        (r" (?=\n|$)", ""),
    )
)
"""The patterns of values that differ between two runs of the same command, and the masks that replace the values."""


class Picture(NamedTuple):
    """A picture of a command's output, from the first line that contains ``begin`` to the line before ``end``."""

    name: str
    command: str
    begin: str = ""
    end: str | None = None


TAKEN = (
    Picture("demo", "payctl demo --keep", begin="Callbacks arrive", end="Events are published"),
    Picture("stats", "payctl stats"),
    Picture("show", "payctl show BLOCKED"),
)


def masked(text: str) -> str:
    """Replace every value that differs between two runs with the value's mask."""
    for pattern, mask in VARYING:
        text = pattern.sub(mask, text)
    return text


def essence(output: str) -> str:
    """Return the parts of an output that must be equal in two runs.

    The parts are the masked text without spaces, and the styles.
    """
    text = masked(re.sub(r"\s+", " ", ANSI.sub("", output))).replace(" ", "")
    styles = [style for style, _ in groupby(code for code in ANSI.findall(output) if code != RESET)]
    return text + "".join(styles)


def fresh(pages: Sequence[Path] = PAGES, path: str = "") -> dict[Path, str]:
    """Run the pages' commands, and return the content that each page and picture should have now.

    ``path`` is the PATH variable for finding payctl. By default, the payctl next to this interpreter is used.

    Raises:
        AssertionError: a command's exit code is not the expected one, or an excerpt was not found in the output.
    """
    files: dict[Path, str] = {}
    for page in pages:
        text, ran = _refreshed(page, path)
        files[page] = text
        for picture in TAKEN:
            found = next((each for each in ran if each.command == picture.command), None)
            if found is not None:
                files |= {path: svg for path, svg in _pictures(picture, found) if path not in files}
    return files


def differences(pages: Sequence[Path] = PAGES, path: str = "") -> list[str]:
    """Run the pages' commands, and describe the changes that ``make pictures`` would make."""
    found = []
    for file, text in fresh(pages, path).items():
        before = file.read_text("utf-8") if file.exists() else ""
        if before != text:
            name = file.relative_to(ROOT).as_posix()
            lines = difflib.unified_diff(_shown(before), _shown(text), name, f"{name} from a run now", lineterm="")
            found.append("\n".join(lines) or f"{name}: the colours differ")
    return found


def _shown(content: str) -> list[str]:
    """Return the lines of a page, or the lines of the masked text in a picture."""
    described = re.search(r"<desc>(.*?)</desc>", content, re.DOTALL)
    return masked(described[1]).splitlines() if described else content.splitlines()


def _refreshed(page: Path, path: str) -> tuple[str, list[Ran]]:
    """Run a page's commands in order. Return the page with new excerpts, and the result of each command."""
    text, done = page.read_text("utf-8"), ""
    ran: list[Ran] = []
    with demo(path) as world:
        begin = 0
        for block in BLOCK.finditer(text):
            done += text[begin : block.start()]
            begin = block.end()
            if block[1] == "text":
                done += f"```text\n{_excerpt(block[2], ran[-1], page)}```\n"
                continue
            done += block[0]
            after = text[block.end() :].partition("\n```sh\n")[0]
            expected = EXIT_CODE.search(BLOCK.sub("", after))
            commands = block[2].splitlines()
            for number, command in enumerate(commands, 1):
                if not command.startswith(tuple(RUN_ELSEWHERE)):
                    ran.append(world(command))
                    wanted = int(expected[1]) if expected and number == len(commands) else 0
                    assert ran[-1].exit_code == wanted, f"{page.name}: {command} ended with {ran[-1]}"
    return done + text[begin:], ran


def _excerpt(old: str, ran: Ran, page: Path) -> str:
    """Return the new excerpt from a run's output, with as many lines as the old excerpt.

    The excerpt has :data:`CUT` where it leaves out lines. The old excerpt stays if only a duration has
    changed. A longer duration can wrap a sentence into one more line, and a shorter one can join two lines.
    """
    lines, wanted = ran.text.rstrip().splitlines(), old.splitlines()
    kept = [line for line in wanted if line != CUT]
    start = 0
    if wanted[0] == CUT:
        found = [number for number, line in enumerate(lines) if masked(line) == masked(kept[0])]
        assert found, f"{page.name}: {ran.command} no longer prints: {kept[0]}"
        start = found[0]
    new, *wrapped = (_cut(lines, start, start + len(kept) + more) for more in (0, 1, -1))
    if essence(old) in {essence(excerpt) for excerpt in (new, *wrapped)}:
        return old
    return new


def _cut(lines: Sequence[str], start: int, end: int) -> str:
    """Return these lines of an output, with :data:`CUT` at the start or end if lines are left out there."""
    cut = [*[CUT] * (start > 0), *(line.rstrip() for line in lines[start:end]), *[CUT] * (end < len(lines))]
    return "".join(f"{line}\n" for line in cut)


def _pictures(picture: Picture, ran: Ran) -> Iterator[tuple[Path, str]]:
    """Yield a picture's path and content for each theme. If the output has not changed, the content stays unchanged."""
    lines = ran.output.splitlines()
    plain = ran.text.splitlines()
    start = next(number for number, line in enumerate(plain) if picture.begin in line)
    end = next((number for number, line in enumerate(plain) if picture.end and picture.end in line), len(plain))
    cut = "\n".join(lines[start:end]).rstrip()
    for name, theme in THEMES.items():
        path = PICTURES / f"{picture.name}-{name}.svg"
        digest = hashlib.sha256(f"{SVG}{theme}{essence(cut)}".encode()).hexdigest()
        old = path.read_text("utf-8") if path.exists() else ""
        yield (
            path,
            old
            if digest in old
            else svg(picture.command, cut, TerminalTheme(*theme), digest, f"{picture.name}-{name}"),
        )


if __name__ == "__main__":
    if "--check" in sys.argv:
        changed = differences()
        sys.stdout.write("".join(f"{each}\n" for each in changed))
        sys.exit(bool(changed))
    for path, content in fresh().items():
        path.write_text(content, "utf-8")
