"""Test that an archive keeps its complete batches after a crash or a full disk, and refuses unsuitable files."""

from __future__ import annotations

import gzip
import json
import os
import resource
import stat
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from ticketbottle_payctl.archive_file import Archive, read
from ticketbottle_payctl.errors import InputError, LockedError, UnavailableError


def added(path, *batches):
    """Open an archive, add each batch, and close the archive."""
    with Archive(path) as archive:
        for batch in batches:
            archive.add(f'{{"id": "{name}"}}' for name in batch)


def ids(path):
    """Return the ids of the events in an archive."""
    return [event["id"] for event in read(path)]


@pytest.fixture
def path(tmp_path):
    """Yield the path of an archive that does not exist yet. The umask makes the test's files private."""
    before = os.umask(0o077)
    yield tmp_path / "events.ndjson.gz"
    os.umask(before)


def test_events_are_read_back_in_the_order_they_were_added(path):
    """Events in an archive keep their order across batches, even after the archive is reopened."""
    added(path, "ab", "c")
    added(path, "de")
    assert ids(path) == ["a", "b", "c", "d", "e"]


def test_zcat_reads_an_archive(path):
    """An archive is a plain gzip file with one event per line, so zcat can read it."""
    added(path, "ab", "c")
    printed = subprocess.run(["/bin/zcat", path], check=True, capture_output=True, text=True).stdout
    assert printed == '{"id": "a"}\n{"id": "b"}\n{"id": "c"}\n'


def test_only_the_owner_may_read_an_archive(path):
    """An archive's file mode is 0600, because the payloads contain customers' orders."""
    added(path, "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kept", [1, 10, 17, -1, -8])
def test_an_incomplete_batch_at_the_end_of_an_archive_is_cut_off(path, kept):
    """After a crash while a batch is written, the complete batches are readable and new batches can be added."""
    added(path, "ab")
    whole = path.read_bytes()
    path.write_bytes(whole + gzip.compress(b'{"id": "lost"}\n')[:kept])
    assert ids(path) == ["a", "b"]
    added(path, "c")
    assert ids(path) == ["a", "b", "c"]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "content",
    [
        b"not gzip at all",
        gzip.compress(b"x")[:-8] + b"12345678",
        b"\0" * 50,
        gzip.compress(b"a backup of something else\n"),
        gzip.compress(b'{"id": "another system"}\n'),
        gzip.compress(b"[1]\n"),
        gzip.compress(b""),
        gzip.compress(b"x" * 5000, 0)[:300],
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"\x1f",
    ],
    ids=["text", "wrong checksum", "zeros", "gzip of text", "gzip of other JSON", "gzip of a list", "gzip of nothing",
         "half a gzip", "two bytes of gzip", "zip", "one byte of gzip"],
)  # fmt: skip
def test_a_file_that_is_not_an_archive_is_not_changed(path, content):
    """Opening a file that is not a payctl archive raises an error and does not change the file."""
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a payctl archive"):
        Archive(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 4, 17, 30])
def test_an_incomplete_first_batch_of_an_archive_is_cut_off(path, length):
    """If the disk fills up during an archive's first batch, the next cleanup continues the same file."""
    added(path, "ab")
    path.write_bytes(path.read_bytes()[:length])
    added(path, "c")
    assert ids(path) == ["c"]


def test_an_archive_of_an_earlier_version_is_continued(path):
    """An archive from an older payctl version has no mark in its gzip members, but its first line identifies it."""
    event = {"id": "a", "aggregateId": "p", "eventType": "PAYMENT_COMPLETED", "payload": {}}
    path.write_bytes(gzip.compress(f"{json.dumps(event)}\n".encode()))
    added(path, "b")
    assert ids(path) == ["a", "b"]


def test_an_archive_is_never_written_through_a_link(path, tmp_path):
    """If an archive's path is a symbolic link, payctl refuses it and does not change the link's target."""
    target = tmp_path / "target"
    added(target, "a")
    before = target.read_bytes()
    path.symlink_to(target)
    with pytest.raises(InputError, match="is a symbolic link"):
        Archive(path)
    assert target.read_bytes() == before


@pytest.mark.parametrize("harm", ["removed", "replaced", "renamed", "linked"])
def test_adding_a_batch_fails_if_the_file_was_removed_or_replaced(path, tmp_path, harm):
    """`Archive.add` raises an error if the archive's path no longer leads to its file, so that no rows are deleted."""
    with Archive(path) as archive:
        archive.add(['{"id": "a"}'])
        path.rename(tmp_path / "elsewhere")
        if harm == "replaced":
            path.write_bytes(b"")
        elif harm == "linked":
            path.symlink_to("elsewhere")
        elif harm == "removed":
            (tmp_path / "elsewhere").unlink()
        with pytest.raises(UnavailableError, match="was removed or replaced"):
            archive.add(['{"id": "b"}'])


def test_the_error_for_a_damaged_archive_has_a_repair_command(path):
    """The error for a damaged archive contains a truncate command that keeps all complete batches."""
    added(path, "ab")
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    with pytest.raises(InputError) as refused:
        Archive(path)
    assert f"truncate -s {whole} {path}" in refused.value.hint


def test_an_archive_that_is_damaged_in_the_middle_is_refused(path):
    """If a batch in the middle of the archive cannot be read, payctl does not write to the archive."""
    added(path, "ab", "cd")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 - 6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Archive(path)


def test_a_second_writer_of_an_archive_is_refused(path):
    """Two processes cannot write to an archive at the same time, because their batches would be interleaved."""
    with Archive(path), pytest.raises(LockedError):
        Archive(path)


def test_a_full_disk_leaves_the_archive_unchanged(path):
    """If the disk is full, the archive keeps all complete batches and nothing of the failed batch."""
    added(path, "ab")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Archive(path) as archive:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
        try:
            with pytest.raises(UnavailableError, match="cannot be written"):
                archive.add(["x" * 500])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ids(path) == ["a", "b"]


@pytest.mark.parametrize("place", ["missing/events.gz", "."])
def test_a_path_that_is_not_a_file_is_refused(tmp_path, place):
    """An archive cannot be a directory and cannot be in a missing directory."""
    with pytest.raises(InputError, match="cannot be opened"):
        Archive(tmp_path / place)


def test_a_device_or_a_pipe_is_refused(tmp_path):
    """An archive must be a regular file, because payctl must sync it to disk."""
    os.mkfifo(tmp_path / "pipe")
    for place in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(InputError, match="not a regular file"):
            Archive(place)


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n"])
def test_a_line_that_is_not_an_event_is_an_error(path, line):
    """Reading a gzip file with a line that is not an event raises InputError."""
    path.write_bytes(gzip.compress(line))
    with pytest.raises(InputError, match="contains a line"):
        ids(path)


def test_a_large_batch_does_not_fill_the_memory(path):
    """Reading or opening an archive with a 40 MB gzip member uses less than 10 MiB of memory."""
    line = b'{"id": "%d", "aggregateId": "p", "eventType": "t", "payload": "%s"}\n'
    path.write_bytes(gzip.compress(b"".join(line % (n, b"x" * 2000) for n in range(20_000)), 1))

    def most(work):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def count():
        assert sum(1 for _ in read(path)) == 20_000

    assert most(count) < 10 * 1024 * 1024
    assert most(lambda: Archive(path).__exit__(None, None, None)) < 10 * 1024 * 1024


def test_a_line_longer_than_any_event_is_an_error(path):
    """An archive line longer than any event raises InputError, because a few kilobytes can expand to gigabytes."""
    path.write_bytes(gzip.compress(b'{"id": "' + b"x" * 40_000_000, 1))
    with pytest.raises(InputError, match="longer than any event"):
        ids(path)


def test_lines_that_cross_buffers_and_members_are_read_whole(path):
    """An archived event is read completely even if its line spans several read buffers or has no final newline."""
    names = [f"{n}-{'y' * (n % 300_000)}" for n in range(0, 3_000_000, 99_991)]
    lines = [f'{{"id": "{name}"}}'.encode() for name in names]
    path.write_bytes(gzip.compress(b"\n".join(lines[:20])) + gzip.compress(b"\n".join(lines[20:])))
    assert ids(path) == names


def test_reading_a_missing_archive_is_an_error(path):
    """Reading a missing archive raises InputError and does not create the file."""
    with pytest.raises(InputError, match="cannot be opened"):
        ids(path)
    assert not path.exists()
