"""Test that git ignores each file that the commands of the pages write into a clone."""

from __future__ import annotations

import re
import subprocess
from pathlib import PurePosixPath

from tests.docs.test_commands import BLOCK, PAGES, ROOT, shell_blocks

COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
ELSEWHERE = re.compile(r"(?m)^ *(?:umask \d+; )?cd (?!-).*(?:\n.*)*")
"""The rest of a block whose commands run in another folder."""

NAME = r"([\w.][\w./-]*\.[\w-]+)\b"
INLINE = re.compile(r"`([^`]*[^`-]>[^`]*)`")
WRITTEN = (
    re.compile(rf"(?<![-=<>])>{{1,2}} *{NAME}"),
    re.compile(rf"\btee (?:-a )?{NAME}"),
    re.compile(rf"(?:-o|--output|--output-document|--archive|--out)[= ]{NAME}"),
)
DOWNLOADED = re.compile(r"curl -\w*O\w* \S*/([\w.-]+)")
READ = (re.compile(rf"file://{NAME}"), re.compile(rf"\bCA={NAME}"))
"""Arguments with a file that the reader writes by hand or downloads."""


def files_of(text):
    """Return the files that the commands of a page write into the clone, or read from there."""
    blocks = [ELSEWHERE.sub("", COMMENT.sub("", block)) for block in shell_blocks(text)]
    found = "\n".join([*blocks, *(" ".join(words.split()) for words in INLINE.findall(BLOCK.sub("", text)))])
    names = {name for pattern in (*WRITTEN, DOWNLOADED, *READ) for name in pattern.findall(found)}
    return {name for name in names if not PurePosixPath(name).is_absolute()}


def test_the_search_finds_each_way_to_write_a_file():
    """The search finds redirections, downloads and arguments, but no file in another folder and no comment."""
    page = """
Run `a > inline.md`, which changes `/etc/b > c` nothing.

```
one > one.json 2> /dev/null       # two > comment.json
curl -fsSO https://example.com/three.pem
aws four --policy-document file://four.json
make package CA=five.pem
```

```
cd "$(mktemp -d)"
six > six.json
```
"""
    assert files_of(page) == {"inline.md", "one.json", "three.pem", "four.json", "five.pem"}


def test_git_ignores_each_file_that_the_commands_of_the_pages_write(tmp_path):
    """After a reader has run the commands of a page in the clone, `git status` lists no new file."""
    names = {name: page.name for page in PAGES for name in files_of(page.read_text("utf-8"))}
    assert names.keys() >= {"policy.json", "trust.json", "global-bundle.pem", "handover.md"}
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text("utf-8"), "utf-8")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["/usr/bin/env", "git", "init", "-q"], cwd=tmp_path, env=environ, check=True)
    command = ["/usr/bin/env", "git", "check-ignore", *sorted(names)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    ignored = set(done.stdout.split())
    assert {name: page for name, page in names.items() if name not in ignored} == {}
