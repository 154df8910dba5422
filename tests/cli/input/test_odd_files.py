"""Test that payctl either reads a file argument within the limits or exits with 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ticketbottle_payctl.cli.input import bounded_read
from ticketbottle_payctl.cli.input.bounded_read import read_bounded
from ticketbottle_payctl.errors import BodyTooLargeError, InputError

LIMIT = 65_536


@pytest.fixture
def impatient(monkeypatch):
    """Reduce the time that payctl waits for a silent pipe to 0.1 seconds."""
    monkeypatch.setattr(bounded_read, "PATIENCE", 0.1)


def refused(answer, name, stdin=None):
    """Return the error message that the command prints when it refuses a file."""
    document = answer("verify-signature", str(name), stdin=stdin)
    assert document["exit_code"] == 2
    return document["error"]["message"]


def test_a_missing_file_is_refused(answer, tmp_path):
    """The error for a missing file names the file and says that it does not exist."""
    message = refused(answer, tmp_path / "nothing")
    assert "nothing cannot be read: no such file or directory" in message


def test_a_directory_is_refused(answer, tmp_path):
    """The error for a directory says that the path is a directory."""
    assert "is a directory" in refused(answer, tmp_path)


@pytest.fixture
def _nobody():
    """Run the test as an unprivileged user, because root can read all files."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    if was == 0:
        os.seteuid(0)


def test_a_file_without_read_permission_is_refused(request, tmp_path):
    """The error for an unreadable file says that permission was denied."""
    file = tmp_path / "locked"
    file.write_text("{}", "utf-8")
    file.chmod(0)
    request.getfixturevalue("_nobody")
    with pytest.raises(InputError, match="permission denied"):
        read_bounded(str(file), LIMIT)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
def test_an_endless_device_is_refused(name, answer):
    """`payctl` refuses an endless device without reading it."""
    assert f"{name} is a device" in refused(answer, name)


def test_a_file_of_a_gigabyte_is_refused(answer, tmp_path):
    """`payctl` refuses a one-gigabyte file because it is too large."""
    file = tmp_path / "large"
    with file.open("wb") as handle:
        handle.truncate(2**30)
    assert "larger than 65,536 bytes" in refused(answer, file)


def test_stdin_beyond_the_limit_is_refused(answer):
    """`payctl` refuses input from stdin that is larger than the limit for a file."""
    assert "stdin is larger than 65,536 bytes" in refused(answer, "-", stdin="x" * (LIMIT + 1))


@pytest.mark.parametrize("content", ["", " \n", "\x00"[:0]])
def test_an_empty_file_is_refused(content, answer, tmp_path):
    """`payctl` refuses an empty file as a callback."""
    file = tmp_path / "empty"
    file.write_text(content, "utf-8")
    assert "empty" in refused(answer, file)


def test_dev_null_is_refused(answer):
    """`payctl` refuses /dev/null because it is a device."""
    assert "/dev/null is a device" in refused(answer, "/dev/null")


@pytest.mark.parametrize(
    "command",
    [
        ("verify-signature", "{}"),
        ("verify-signature", "--event", "{}"),
        ("verify-signature", "--example", "zalopay", "--key-file", "{}"),
        ("replay", "--from-file", "{}", "-n"),
        ("replay", "--plan", "{}", "-n"),
        ("list", "outbox", "--from-file", "{}"),
        ("list", "outbox", "--from-archive", "{}"),
        ("--config", "{}", "config", "validate"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_every_file_argument_must_be_a_regular_file(answer, tmp_path, command, kind):
    """Every option that takes a file refuses a named pipe, a directory or a device at once."""
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    name = "/dev/zero" if kind == "device" else str(place)
    document = answer(*[word.format(name) for word in command], DATABASE_URL="postgresql://u:p@127.0.0.1:1/x")
    assert document["exit_code"] in {2, 3}
    assert name in document["error"]["message"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/x", "x/" * 3000 + "x"], ids=["name", "directory", "path"])
@pytest.mark.parametrize(
    "command",
    [
        ("verify-signature", "{}"),
        ("verify-signature", "--event", "{}"),
        ("verify-signature", "--example", "zalopay", "--key-file", "{}"),
        ("process-webhook", "{}"),
        ("replay", "--from-file", "{}", "-n"),
        ("replay", "--plan", "{}", "-n"),
        ("list", "outbox", "--from-archive", "{}"),
        ("--config", "{}", "config", "validate"),
        ("doctor", "--bundle", "{}"),
        ("report", "--html", "{}.html"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_every_file_argument_may_be_too_long(answer, command, name):
    """If a file's path is too long for the operating system, payctl exits with 2 or 3."""
    document = answer(*[word.format(name) for word in command], DATABASE_URL="postgresql://u:p@127.0.0.1:1/x")
    assert document["exit_code"] in {2, 3}
    assert "cannot be" in document["error"]["message"]


@pytest.mark.usefixtures("impatient")
def test_a_silent_pipe_is_refused_after_a_while():
    """`payctl` refuses a pipe that does not send data within a time limit."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(InputError, match="sent no data within"):
            read_bounded(f"/dev/fd/{reader}", LIMIT)
    finally:
        os.close(reader)
        os.close(writer)


def test_reading_a_large_id_file_takes_linear_time(tmp_path):
    """`payctl` reads a file of 64 MiB before the test times out."""
    file = tmp_path / "ids"
    file.write_bytes(b"x" * 63 + b"\n")
    with file.open("r+b") as handle:
        handle.truncate(64 * 1024 * 1024)
    assert len(read_bounded(str(file), 64 * 1024 * 1024)) == 64 * 1024 * 1024


def test_a_shell_s_pipe_is_read_like_a_file():
    """`payctl` reads everything from a shell's <(command) pipe."""
    reader, writer = os.pipe()
    os.write(writer, b"half ")
    os.write(writer, b"and half")
    os.close(writer)
    try:
        assert read_bounded(f"/dev/fd/{reader}", LIMIT) == b"half and half"
    finally:
        os.close(reader)


def test_a_symbolic_link_to_a_file_is_followed(answer, tmp_path):
    """`payctl` follows a symbolic link to a file."""
    (tmp_path / "file").write_text("hello", "utf-8")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert answer("verify-signature", str(link))["exit_code"] == 5


def test_a_symbolic_link_to_itself_is_refused(answer, tmp_path):
    """`payctl` refuses a symbolic link that points to itself."""
    link = tmp_path / "link"
    link.symlink_to("link")
    assert "cannot be read" in refused(answer, link)


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000])
def test_an_impossible_file_name_is_refused(name):
    """`payctl` refuses a file name that contains NUL or has 5,000 characters."""
    with pytest.raises(InputError, match="cannot be read"):
        read_bounded(name, LIMIT)


def test_a_file_name_that_is_not_utf_8_is_refused(process, tmp_path):
    """`payctl` refuses a file name that is not UTF-8. The error shows the escaped name and says to rename the file."""
    name = os.fsdecode(b"\xff\xfe.json")
    result = process("verify-signature", name, cwd=tmp_path, PYTHONPATH=str(Path.cwd()))
    assert result.returncode == 2
    assert r"the argument \udcff\udcfe.json is not UTF-8" in result.stderr
    assert "rename the file" in result.stderr


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_a_file_of_exactly_the_limit_is_read(size, tmp_path):
    """`payctl` reads a file whose size is exactly the limit."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * size)
    assert len(read_bounded(str(file), LIMIT)) == size


def test_a_file_one_byte_over_the_limit_is_refused(tmp_path):
    """If a file is one byte larger than the limit, reading it raises BodyTooLargeError."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(BodyTooLargeError):
        read_bounded(str(file), LIMIT)
