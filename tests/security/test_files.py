"""Test that every file payctl writes has the right mode, and that payctl never writes through a link."""

from __future__ import annotations

import ast
import os
import re
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import answer, invoke  # noqa: F401 - fixtures
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.sandbox.server import Server

ROOT = Path(__file__).parents[2]
WRITERS = {
    "archive": ["cleanup", "--archive", "FILE.gz"],
    "plan": ["replay", "--failed", "--plan-out", "FILE"],
    "bundle": ["doctor", "--only", "keys", "--bundle", "FILE"],
    "health file": ["publish-outbox", "--health-file", "FILE"],
    "report": ["report", "--since", "90d", "--html", "FILE"],
}
"""The command that writes each kind of file. The repair plan from `payctl reconcile outbox` is of the `plan` kind."""

WRITTEN = {"--archive", "--plan-out", "--repair-out", "--bundle", "--health-file", "--html"}
READ = {"--config", "--from-file", "--from-archive", "--event", "--plan", "--key-file"}
"""The options that name a file to read. ``WRITTEN`` contains the options that name a file to write."""

MAKERS = {
    "archive_file.py": "archive",
    "cli/commands/doctor/bundle.py": "bundle",
    "cli/commands/publish_outbox/progress.py": "health file",
    "cli/commands/replay/plan_file.py": "plan",
    "cli/output/private_file.py": "report",
    "cli/output/streams.py": "/dev/null, if stdout is closed",
    "sandbox/demo/kept.py": "the settings of a kept demo: mode 0600, in a private directory",
    "sandbox/postgres.py": "inside the private directory of a local server",
    "sandbox/postgres_binaries.py": "PostgreSQL's programs, in a cache",
    "sandbox/server.py": "inside the private directory of a local server",
}
"""The modules that create files, each with a description of the files that it creates."""

_CREATING = {"write_text", "write_bytes", "touch", "mkdtemp", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory"}
_CREATING |= {"mkdir", "makedirs", "copyfile", "copytree", "symlink", "symlink_to", "hardlink_to", "link"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Yield an empty directory. During the test, the umask permits every file mode."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0)
    yield tmp_path
    os.umask(before)


@pytest.fixture
def write(answer, engine, database_url, mock_kafka, place):  # noqa: F811 - a fixture
    """Return a function that runs the command that writes a kind of file.

    The function returns the exit code and the path.
    """
    with engine.begin() as connection:
        insert_events(connection, 2, state="published", age=timedelta(days=60))
        insert_events(connection, 2, state="dead", last_error="REFUSED: no")
        insert_payments_of_events(connection)

    def run(kind):
        arguments = [word.replace("FILE", str(place / "file")) for word in WRITERS[kind]]
        document = answer(*arguments, DATABASE_URL=database_url, KAFKA_BROKERS=mock_kafka.bootstrap)
        return document["exit_code"], path_of(kind, place)

    return run


def path_of(kind, place):
    """Return the path of the file that the command wrote."""
    return place / WRITERS[kind][-1].replace("FILE", "file")


@pytest.mark.postgres
@pytest.mark.parametrize("kind", WRITERS)
def test_only_its_owner_can_read_a_file_that_payctl_writes(kind, write):
    """A new file that payctl writes has mode 0600, even if the umask permits more."""
    code, path = write(kind)
    assert code in ({6} if kind == "health file" else {0, 5})  # the outbox has dead events
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600


@pytest.mark.postgres
@pytest.mark.parametrize("target", ["a file", "nothing"])
@pytest.mark.parametrize("kind", WRITERS)
def test_no_file_is_written_through_a_link(kind, target, write, place):
    """If the output path is a symbolic link, `payctl` exits with 2.

    The link's target is neither changed nor created.
    """
    victim = place / "victim"
    if target == "a file":
        victim.write_bytes(b"")
        os.utime(victim, (1, 1))
    path_of(kind, place).symlink_to(victim)
    code, path = write(kind)
    assert (code, path.is_symlink()) == (2, True)
    assert not victim.exists() if target == "nothing" else (victim.read_bytes(), victim.stat().st_mtime) == (b"", 1)


@pytest.mark.postgres
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601])
def test_an_archive_is_not_continued_in_a_file_that_others_can_open(mode, answer, write, place, database_url):  # noqa: F811
    """An archive that others can open is refused, and no event is deleted.

    The command in the error's hint fixes the mode.
    """
    path_of("archive", place).write_bytes(b"")
    path_of("archive", place).chmod(mode)
    code, path = write("archive")
    assert (code, path.read_bytes()) == (2, b"")
    document = answer("cleanup", "--archive", str(path), DATABASE_URL=database_url)
    assert document["error"]["hint"] == f"remove their access: chmod go= {path}"
    path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    assert answer("cleanup", "--archive", str(path), DATABASE_URL=database_url)["counts"]["archived"] == 2


@pytest.mark.postgres
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_archive_is_not_continued_in_the_file_of_another_user(write, place):
    """An archive that belongs to another user is refused, because that user could read the events."""
    path_of("archive", place).write_bytes(b"")
    path_of("archive", place).chmod(0o600)
    os.chown(path_of("archive", place), 65534, 65534)
    code, path = write("archive")
    assert (code, path.read_bytes()) == (2, b"")


@pytest.mark.usefixtures("place")
def test_the_files_of_a_local_server_are_in_a_private_directory(tmp_path):
    """The directory with a local server's data, log and settings has mode 0700, so no other user can enter it."""
    server = Server("test", within=tmp_path)
    try:
        assert stat.S_IMODE(server.home.stat().st_mode) == 0o700
    finally:
        server.close()
    assert not server.home.exists()


def test_every_option_with_a_file_is_in_the_table():
    """The READ and WRITTEN sets in this file contain every option on the generated page that takes a file name."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    found = set(re.findall(r"^\| `(?:-\w, )?(--[a-z-]+) (?:FILE|PATH)\b(?!=)", page, re.MULTILINE))
    assert found - {"--path"} == WRITTEN | READ
    assert {word for words in WRITERS.values() for word in words} & WRITTEN == WRITTEN - {"--repair-out"}


def test_every_place_in_the_code_that_creates_a_file_is_in_the_table():
    """The MAKERS table lists every module that creates a file or directory, so that a new module gets a test."""
    packages = [ROOT / "ticketbottle_payctl", ROOT / "lambda_entrypoints"]
    found = {
        file.relative_to(package).as_posix()
        for package in packages
        for file in package.rglob("*.py")
        if any(creates(node) for node in ast.walk(ast.parse(file.read_text("utf-8"))))
    }
    assert found == set(MAKERS)


def creates(node):
    """Return whether a syntax tree node is a call that can create a file."""
    if not isinstance(node, ast.Call):
        return False
    words = ast.unparse(node)
    of, _, name = ast.unparse(node.func).rpartition(".")
    if of == "formatter":  # Click's formatter writes a help page to memory
        return False
    if name == "open":
        return bool(re.search(r"O_CREAT|O_WRONLY|O_RDWR|['\"][rwaxbt+]*[wax+][rwaxbt+]*['\"]", words))
    return name in _CREATING
