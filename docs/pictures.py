"""Run the commands in the README and the tutorials, and create the excerpts and pictures from the output.

``make pictures`` runs this script. With ``--check``, the script only names the files that would change, and exits with
1 if there are any.

A page has its commands in ``sh`` blocks. A ``text`` block after them is an excerpt from the last command's output. The
excerpt has the first lines of the output, or lines from the middle if the excerpt begins with ``...``. A page's
commands run in order in one ``payctl demo --keep``. A command must exit with 0, unless the text after the command's
block says "exit code N". If only ids, times and similar values have changed, an excerpt or picture stays unchanged.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import io
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorials" / "first-stuck-event.md")
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 80, 24
PATIENCE = 60

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
ANSI = re.compile(r"\x1b\[[0-9;]*m")
RESET = "\x1b[0m"

VARYING = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\d{6}_[0-9a-f]{12}|\b\d{12,15}\b", "<reference>"),
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


class Ran(NamedTuple):
    """A command, its coloured output on an 80-column terminal, and its exit code."""

    command: str
    output: str
    exit_code: int

    @property
    def text(self) -> str:
        """Return the output as plain text without colours."""
        return ANSI.sub("", self.output)


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

_LIGHT = (
    (255, 255, 255),
    (36, 41, 47),
    [(36, 41, 47), (190, 30, 40), (20, 110, 50), (135, 85, 0), (9, 90, 200), (125, 60, 180), (15, 105, 125),
     (95, 102, 110)],
)  # fmt: skip
_DARK = (
    (13, 17, 23),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221),
     (177, 186, 196)],
)  # fmt: skip
THEMES = {"light": _LIGHT, "dark": _DARK}
"""The background colour, the foreground colour and the eight other colours of each theme."""

SVG = """\
<svg viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg" role="img">
<!-- {digest} -->
<title>{title}</title>
<desc>{text}</desc>
<style>
.{{unique_id}}-matrix {{{{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {{char_height}}px; line-height: {{line_height}}px;
}}}}
.{{unique_id}}-title {{{{ font-size: 15px; font-family: ui-monospace, "DejaVu Sans Mono", monospace; }}}}
{{styles}}
</style>
<defs>
<clipPath id="{{unique_id}}-clip-terminal">
<rect x="0" y="0" width="{{terminal_width}}" height="{{terminal_height}}"/>
</clipPath>
{{lines}}
</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})" clip-path="url(#{{unique_id}}-clip-terminal)">
{{backgrounds}}
<g class="{{unique_id}}-matrix">
{{matrix}}
</g>
</g>
</svg>
"""


def masked(text: str) -> str:
    """Replace every value that differs between two runs with the value's mask."""
    for pattern, mask in VARYING:
        text = pattern.sub(mask, text)
    return text


def essence(output: str) -> str:
    """Return the parts of an output that must be equal in two runs.

    These are the masked text without spaces, and the styles.
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
    """Return the new excerpt from a run's output, with as many lines as the old excerpt."""
    lines, wanted = ran.text.splitlines(), old.splitlines()
    middle, open_end = wanted[0] == "...", wanted[-1] == "..."
    kept = wanted[middle : len(wanted) - open_end]
    start = 0
    if middle:
        found = [number for number, line in enumerate(lines) if masked(line) == masked(kept[0])]
        assert found, f"{page.name}: {ran.command} no longer prints: {kept[0]}"
        start = found[0]
    new = [line.rstrip() for line in lines[start : start + len(kept)]]
    if essence("\n".join(new)) == essence("\n".join(kept)):
        return old
    return "".join(f"{line}\n" for line in [*["..."] * middle, *new, *["..."] * open_end])


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
        yield path, old if digest in old else svg(picture, cut, TerminalTheme(*theme), digest, f"{picture.name}-{name}")


def svg(picture: Picture, output: str, theme: TerminalTheme, digest: str, unique_id: str) -> str:
    """Return an SVG picture of a terminal that shows this output."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in Text.from_ansi(output).split("\n", allow_blank=True):
        for part in line.divide(range(COLUMNS, len(line), COLUMNS)):  # a terminal folds long lines too
            console.print(part, no_wrap=True, overflow="ignore", crop=False, highlight=False)
    code = SVG.format(digest=digest, title=escape(picture.command), text=_braced(escape(ANSI.sub("", output))))
    made = console.export_svg(title=picture.command, theme=theme, code_format=code, unique_id=unique_id)
    made = made.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="#808890"')  # visible on a light page too
    return "".join(f"{line.rstrip()}\n" for line in made.splitlines() if line.strip())


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


@contextmanager
def demo(path: str = "") -> Iterator[Callable[[str], Ran]]:
    """Run a demo during the block, and yield a function that runs a command with the demo's settings."""
    with tempfile.TemporaryDirectory() as home:
        environ = {
            "HOME": home,
            "PATH": path or f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        environ |= {name: value for name, value in os.environ.items() if name.startswith("PAYCTL_TEST_")}
        ours, theirs = terminal()
        process = subprocess.Popen(["payctl", "demo", "--keep"], env=environ, stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        try:
            output = _read(ours, until="The messages appear here")
            found = re.search(r"source (\S+)", ANSI.sub("", output))
            assert found, output

            def run(command: str) -> Ran:
                if command == "payctl demo --keep":
                    return Ran(command, output, 0)
                return in_terminal(f"source {shlex.quote(found[1])}; {command}", environ, command)

            yield run
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            os.close(ours)


def in_terminal(line: str, environ: Mapping[str, str], command: str) -> Ran:
    """Run a shell command line in bash, with an 80-column terminal as stdout."""
    ours, theirs = terminal()
    process = subprocess.Popen(
        ["bash", "-c", line],
        env=environ,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    output = _read(ours)
    os.close(ours)
    _, talk = process.communicate(timeout=PATIENCE)
    return Ran(command, output or talk.decode(), process.returncode)


def terminal() -> tuple[int, int]:
    """Open an 80-column pseudo-terminal, and return its two ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    return ours, theirs


def _read(file: int, until: str = "") -> str:
    """Read from a terminal until its other end is closed or the output contains ``until``. Return the output."""
    content = b""
    with suppress(OSError):  # Linux raises this error when the other end is closed
        while (chunk := os.read(file, 65_536)) and not (until and until.encode() in content + chunk):
            content += chunk
        content += chunk
    return content.decode().replace("\r\n", "\n")


if __name__ == "__main__":
    if "--check" in sys.argv:
        changed = differences()
        sys.stdout.write("".join(f"{each}\n" for each in changed))
        sys.exit(bool(changed))
    for path, content in fresh().items():
        path.write_text(content, "utf-8")
