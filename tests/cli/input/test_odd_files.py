"""Whatever is named as a file: it is read within bounds or refused clearly, with exit 2, and nothing is written."""

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
    """A pipe may be silent for a tenth of a second."""
    monkeypatch.setattr(bounded_read, "PATIENCE", 0.1)


def refused(answer, name, stdin=None):
    """The message with which a file is refused by the command."""
    document = answer("verify-signature", str(name), stdin=stdin)
    assert document["exit_code"] == 2
    return document["error"]["message"]


def test_a_missing_file(answer, tmp_path):
    """It is said to be missing, and which one."""
    message = refused(answer, tmp_path / "nothing")
    assert "nothing cannot be read: no such file or directory" in message


def test_a_directory(answer, tmp_path):
    """It is said to be one."""
    assert "is a directory" in refused(answer, tmp_path)


@pytest.fixture
def _nobody():
    """Root may read everything: be somebody else for the test."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    if was == 0:
        os.seteuid(0)


def test_a_file_without_permission(request, tmp_path):
    """It is said that it may not be read."""
    file = tmp_path / "locked"
    file.write_text("{}", "utf-8")
    file.chmod(0)
    request.getfixturevalue("_nobody")
    with pytest.raises(InputError, match="permission denied"):
        read_bounded(str(file), LIMIT)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/urandom"])
def test_an_endless_device(name, answer):
    """A device is refused without being read."""
    assert f"{name} is a device" in refused(answer, name)


def test_a_file_of_a_gigabyte(answer, tmp_path):
    """It is refused by its size, without being read."""
    file = tmp_path / "large"
    with file.open("wb") as handle:
        handle.truncate(2**30)
    assert "larger than 65,536 bytes" in refused(answer, file)


def test_endless_stdin(answer):
    """Stdin is bounded like a file."""
    assert "stdin is larger than 65,536 bytes" in refused(answer, "-", stdin="x" * (LIMIT + 1))


@pytest.mark.parametrize("content", ["", " \n", "\x00"[:0]])
def test_an_empty_file(content, answer, tmp_path):
    """Nothing is no callback."""
    file = tmp_path / "empty"
    file.write_text(content, "utf-8")
    assert "empty" in refused(answer, file)


def test_dev_null(answer):
    """Nothing is read from a device."""
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
        ("--config", "{}", "config", "validate"),
    ],
    ids=lambda command: " ".join(command[:3]),
)
@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
def test_every_file_argument_wants_a_regular_file(answer, tmp_path, command, kind):
    """A named pipe, a directory and a device are refused at once, wherever a file can be named."""
    place = tmp_path / "place"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    name = "/dev/zero" if kind == "device" else str(place)
    document = answer(*[word.format(name) for word in command], DATABASE_URL="postgresql://u:p@127.0.0.1:1/x")
    assert document["exit_code"] in {2, 3}
    assert name in document["error"]["message"]


@pytest.mark.usefixtures("impatient")
def test_a_shells_pipe_whose_command_is_silent():
    """It is given a time, not waited for."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(InputError, match="sent no data within"):
            read_bounded(f"/dev/fd/{reader}", LIMIT)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_large_id_file_is_read_in_proportion_to_its_size(tmp_path):
    """Sixty-four MiB were copied again for each piece that was read; now the default time-out is far away."""
    file = tmp_path / "ids"
    file.write_bytes(b"x" * 63 + b"\n")
    with file.open("r+b") as handle:
        handle.truncate(64 * 1024 * 1024)
    assert len(read_bounded(str(file), 64 * 1024 * 1024)) == 64 * 1024 * 1024


def test_a_pipe_with_a_writer():
    """What a shell's <(command) gives is read like a file."""
    reader, writer = os.pipe()
    os.write(writer, b"half ")
    os.write(writer, b"and half")
    os.close(writer)
    try:
        assert read_bounded(f"/dev/fd/{reader}", LIMIT) == b"half and half"
    finally:
        os.close(reader)


def test_a_symbolic_link(answer, tmp_path):
    """It is followed: it is the file that counts."""
    (tmp_path / "file").write_text("hello", "utf-8")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert answer("verify-signature", str(link))["exit_code"] == 5


def test_a_link_to_itself(answer, tmp_path):
    """It is an error like any other."""
    link = tmp_path / "link"
    link.symlink_to("link")
    assert "cannot be read" in refused(answer, link)


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000])
def test_a_name_that_is_none(name):
    """What cannot be a file's name is refused before anything else."""
    with pytest.raises(InputError, match="cannot be read"):
        read_bounded(name, LIMIT)


def test_a_name_that_is_not_unicode(process, tmp_path):
    """Bytes that are no text are refused, shown escaped, with what to do."""
    name = os.fsdecode(b"\xff\xfe.json")
    result = process("verify-signature", name, cwd=tmp_path, PYTHONPATH=str(Path.cwd()))
    assert result.returncode == 2
    assert r"the argument \udcff\udcfe.json is not UTF-8" in result.stderr
    assert "rename the file" in result.stderr


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_the_bound_itself_is_read(size, tmp_path):
    """Exactly as much as the webhook accepts is accepted here."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * size)
    assert len(read_bounded(str(file), LIMIT)) == size


def test_one_byte_more_is_refused(tmp_path):
    """Also from a pipe, whose size nobody knows beforehand."""
    file = tmp_path / "body"
    file.write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(BodyTooLargeError):
        read_bounded(str(file), LIMIT)
