"""Test that git and the build of the image ignore each file with secrets that the pages name."""

from __future__ import annotations

import re
import subprocess

import pytest

_READ = re.compile(r"(?:--secret-string file://|--(?:from-)?env-file[= ])([\w.$-]+)")
_NAMED = re.compile(r"`([\w-]+(?:\.env|-database\.json|gateways\.json))`")
_LOOP = re.compile(r"^ *for NAME in ([^\n]+?); do\n(.*?)^ *done$", re.MULTILINE | re.DOTALL)


def secret_files(text):
    """Return the names of the files with secrets on a page. `$NAME` stands for each word of a shell loop."""
    looped = "".join(body.replace("$NAME", word) for listed, body in _LOOP.findall(text) for word in listed.split())
    return {name for pattern in (_READ, _NAMED) for name in pattern.findall(looped + _LOOP.sub("", text))}


@pytest.fixture(scope="module")
def names(root):
    """Return the names of all files with secrets on the pages."""
    return {name for page in (root / "docs").rglob("*.md") for name in secret_files(page.read_text("utf-8"))}


def test_the_pages_name_the_files_of_every_secret(names):
    """The search finds the files of the stack's secrets and of the Kubernetes secrets, so the next tests check them."""
    databases = {f"{duty}-database.json" for duty in ("webhook", "outbox", "cleanup", "watch")}
    assert names >= databases | {"gateways.json", "publisher.env", "cleanup.env", "reconciler.env", "prod.env"}


@pytest.mark.parametrize("folder", ["", "deploy/", "ticketbottle_payctl/"])
def test_git_ignores_each_file_with_secrets(root, names, tmp_path, folder):
    """`git add` leaves out each file with secrets, in whichever folder an operator writes it."""
    (tmp_path / ".gitignore").write_text((root / ".gitignore").read_text("utf-8"), "utf-8")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["/usr/bin/env", "git", "init", "-q"], cwd=tmp_path, env=environ, check=True)
    command = ["/usr/bin/env", "git", "check-ignore", *(folder + name for name in sorted(names))]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {folder + name for name in names}


def test_git_ignores_no_file_of_the_project(root):
    """No file of the repository matches the patterns for secrets."""
    command = ["/usr/bin/env", "git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is not a clone")
    assert done.stdout == ""


def in_image(patterns, path):
    """Return whether an image's build gets the file. As in Docker, the last pattern that matches decides.

    A pattern also matches all files in a folder that it matches.
    """
    taken = True
    for pattern in patterns:
        parts = re.split(r"(\*\*/|\*\*|\*)", pattern.removeprefix("!"))
        meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
        regex = "".join(meanings.get(part) or re.escape(part) for part in parts)
        if re.fullmatch(f"{regex}(?:/.*)?", path):
            taken = pattern.startswith("!")
    return taken


@pytest.mark.parametrize("folder", ["", "deploy/", "ticketbottle_payctl/", "lambda_entrypoints/"])
def test_an_image_contains_no_file_with_secrets(root, names, folder):
    """The build of the image does not get a file with secrets, but does get payctl's own files."""
    patterns = (root / ".dockerignore").read_text("utf-8").split()
    assert [name for name in sorted(names) if in_image(patterns, folder + name)] == []
    assert in_image(patterns, "ticketbottle_payctl/schemas/envelope-1.json")
    assert in_image(patterns, "pyproject.toml")
