"""Test that a reader can paste the commands of the pages into a shell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:payctl|make|aws|kubectl|docker|psql|curl|git) ")
DESCRIPTION = re.compile(r"\S {2,}(?![#\\])\S")
"""Words after a gap of at least two spaces. Only a comment or the end of the line is allowed after such a gap."""


def shell_blocks(text):
    """Return the contents of a page's shell blocks. A block of another language does not count as a shell block."""
    return [block for language, block in BLOCK.findall(text) if language in {"", "sh", "bash"}]


def commands():
    """Yield each line of a shell block that begins with a command, with its page."""
    for page in PAGES:
        for block in shell_blocks(page.read_text("utf-8")):
            for line in map(str.strip, block.splitlines()):
                if COMMAND.match(line):
                    yield str(page.relative_to(ROOT)), line


def test_a_description_next_to_a_command_is_a_comment():
    """A description after a command begins with `#`. Otherwise, the shell would pass its words to the command."""
    found = list(commands())
    assert len(found) > 200
    assert [(page, line) for page, line in found if DESCRIPTION.search(line)] == []


@pytest.mark.parametrize("word", ["date -u -d", "date -d"])
def test_no_command_needs_the_date_of_gnu(word):
    """No page uses an option of `date` that only GNU's program has. The program of macOS refuses `-d`."""
    assert [page.name for page in PAGES if word in page.read_text("utf-8")] == []
