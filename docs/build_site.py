"""Build the documentation site in ``build/site`` from the pages in docs and a few other pages of the project.

    python docs/build_site.py            build the site; exit 1 if a link or an anchor is broken

A page can link to a file in the project that is not a page, such as a template. Then the site gets a copy of this file.
A link to a folder becomes plain text. If a link's text is the file name of a page, the text is replaced by the page's
title. ``docs/site.toml`` has the builder's settings.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, BUILD = ROOT / "docs", ROOT / "build"
PAGES, SITE = BUILD / "pages", BUILD / "site"
CONFIG = BUILD / "site.toml"

Entry = str | tuple[str, Sequence["Entry"]]

NAVIGATION: tuple[Entry, ...] = (
    "index.md",
    ("Tutorials", ("first-callback", "first-stuck-event", "first-deployment", "*")),
    (
        "How-to",
        (
            "index",
            ("On call", ("stats", "looking", "publish", "replay", "cleanup", "reconcile", "doctor", "guards")),
            ("Engineer", ("try-it-locally", "gateways", "database-url")),
            (
                "Deployer",
                (
                    "deploy.md",
                    "database-roles",
                    "kafka-security",
                    "container",
                    "publisher-on-eks",
                    "without-internet",
                    "rds-proxy",
                ),
            ),
            ("Contributor", ("contributing.md", "benchmarks/running.md")),
            "*",
        ),
    ),
    (
        "Reference",
        (
            "commands",
            "environment",
            "errors",
            "schemas",
            "functions",
            "metrics",
            "log-events",
            "glossary",
            "*",
            "changelog.md",
        ),
    ),
    (
        "Explanation",
        (
            *("outbox", "order", "at-least-once", "gateways", "architecture", "security", "scale", "*"),
            ("Benchmarks", ("benchmarks/index.md", "benchmarks/*")),
        ),
    ),
    ("Runbook", ("runbook.md",)),
    ("Decisions", ("index", "*")),
)
"""The sections of the site. A name without ``.md`` is a page in the section's folder.

``*`` means all other pages in the folder. A listed page that does not exist is left out. If a page is in no section,
the build fails.
"""

ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks/running.md",
}
"""The project's pages outside docs, and their paths in the site.

The README is left out, because the site has its own first page.
"""

_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def main() -> int:
    """Build the site. Return 1 if the builder prints a warning or a page is in no section."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    pages = collect()
    text = (DOCS / "site.toml").read_text("utf-8")
    left = set(pages)
    nav = _toml(list(_navigation(NAVIGATION, left, set(listed(NAVIGATION)))))
    if left:
        sys.stderr.write(f"not in the navigation of docs/build_site.py: {', '.join(sorted(left))}\n")
        return 1
    CONFIG.write_text(text.replace("[project]\n", f"[project]\nnav = {nav}\n", 1), "utf-8")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean", "-f", str(CONFIG)]
    done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = (done.stdout + done.stderr).partition("Traceback")[0]
        sys.stderr.write(re.sub(r"\x1b\[[0-9;]*m", "", said))
        return 1
    sys.stdout.write(f"{SITE.relative_to(ROOT)}: {len(pages)} pages\n")
    return 0


def collect() -> set[str]:
    """Write the site's sources to ``build/pages``. Return the paths of the pages."""
    place_of = dict(places())
    for file, place in place_of.items():
        target = PAGES / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            target.write_text(_linked(file, place, place_of), "utf-8")
        else:
            shutil.copyfile(file, target)
    return {place for place in place_of.values() if place.endswith(".md")}


def places() -> Iterator[tuple[Path, str]]:
    """Yield the site's source files, each with its path in the site."""
    for file in sorted(DOCS.rglob("*")):
        if file.is_file() and file.suffix in {".md", ".svg", ".png", ".css"}:
            place = file.relative_to(DOCS).as_posix()
            yield file, re.sub(r"(^|/)README\.md$", r"\1index.md", place)
    for name, place in ELSEWHERE.items():
        if place != "index.md":
            yield ROOT / name, place


def _linked(file: Path, place: str, place_of: dict[Path, str]) -> str:
    """Return a page's text, with the links changed for the site."""

    def changed(link: re.Match[str]) -> str:
        path, mark, anchor = link["target"].partition("#")
        if not path or "://" in path:
            return link[0]
        target = Path(os.path.normpath(file.parent / path))
        if target.is_dir() and target / "README.md" in place_of:
            target /= "README.md"
        if target == ROOT / "README.md":
            known, mark, anchor = "index.md", "", ""
        elif target in place_of:
            known = place_of[target]
        elif target.is_file() and target.is_relative_to(ROOT):
            known, mark, anchor = _copied(target), "", ""
        elif target.is_dir():
            return link["text"]
        else:
            return link[0]
        relative = os.path.relpath(known, Path(place).parent)
        text = _title(target) if link["text"].endswith(target.name) and target.suffix == ".md" else link["text"]
        return f"{link['image']}[{text}]({relative}{mark}{anchor})"

    parts = _FENCE.split(file.read_text("utf-8"))
    return "".join(part if part.startswith("```") else _LINK.sub(changed, part) for part in parts)


def _title(page: Path) -> str:
    return page.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def _copied(file: Path) -> str:
    """Copy a file that is not a page to a text file, which every browser can show.

    Return the copy's path in the site.
    """
    place = f"files/{file.relative_to(ROOT).as_posix()}.txt"
    (PAGES / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, PAGES / place)
    return place


def listed(entries: Sequence[Entry], folder: str = "") -> Iterator[str]:
    """Yield the paths of all pages that are listed in the navigation, even if a page does not exist."""
    for entry in entries:
        if isinstance(entry, str):
            yield _path(entry, folder)
        else:
            yield from listed(entry[1], folder or f"{entry[0].lower()}/")


def _path(entry: str, folder: str) -> str:
    return entry if "/" in entry or entry.endswith(".md") else f"{folder}{entry}.md".replace("*.md", "*")


def _navigation(entries: Sequence[Entry], pages: set[str], named: set[str], folder: str = "") -> Iterator[object]:
    """Yield the navigation without missing pages. An entry is a path, or a section in the format ``{title: [...]}``.

    Each page that is yielded is removed from ``pages``.
    """
    for entry in entries:
        if isinstance(entry, tuple):
            inside = folder or f"{entry[0].lower()}/"
            yield {entry[0]: list(_navigation(entry[1], pages, named, inside))}
            continue
        path = _path(entry, folder)
        prefix = path.removesuffix("*")
        found = {path} & pages if prefix == path else {page for page in pages - named if page.startswith(prefix)}
        yield from sorted(found)
        pages -= found


def _toml(node: object) -> str:
    if isinstance(node, list):
        return f"[{', '.join(map(_toml, node))}]"
    if isinstance(node, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(value)}" for key, value in node.items()) + " }"
    return json.dumps(node)


if __name__ == "__main__":
    sys.exit(main())
