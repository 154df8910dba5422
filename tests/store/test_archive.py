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
    """Open, add each batch, close."""
    with Archive(path) as archive:
        for batch in batches:
            archive.add(f'{{"id": "{name}"}}' for name in batch)


def ids(path):
    """What is read back."""
    return [event["id"] for event in read(path)]


@pytest.fixture
def path(tmp_path):
    """Where an archive will be."""
    return tmp_path / "events.ndjson.gz"


def test_what_is_added_is_read_back_in_order(path):
    """Across batches and across openings."""
    added(path, "ab", "c")
    added(path, "de")
    assert ids(path) == ["a", "b", "c", "d", "e"]


def test_zcat_reads_it(path):
    """It is plain gzip, one event a line."""
    added(path, "ab", "c")
    printed = subprocess.run(["/bin/zcat", path], check=True, capture_output=True, text=True).stdout
    assert printed == '{"id": "a"}\n{"id": "b"}\n{"id": "c"}\n'


def test_only_its_owner_may_read_it(path):
    """Payloads name customers' orders."""
    added(path, "a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kept", [1, 10, 17, -1, -8])
def test_half_a_batch_at_the_end_is_cut_off(path, kept):
    """A crash in the middle of a batch leaves what was whole, and later batches can be read."""
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
def test_another_file_is_left_alone(path, content):
    """A file that is not an archive of payctl is neither cut nor added to, whatever it is."""
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not an archive"):
        Archive(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 4, 17, 30])
def test_half_of_the_first_batch_is_cut_off(path, length):
    """A disk that was full at the first batch leaves a file that the next clean-up continues."""
    added(path, "ab")
    path.write_bytes(path.read_bytes()[:length])
    added(path, "c")
    assert ids(path) == ["c"]


def test_an_archive_of_an_earlier_version_is_continued(path):
    """Its members have no mark, so its first line tells what it is."""
    event = {"id": "a", "aggregateId": "p", "eventType": "PAYMENT_COMPLETED", "payload": {}}
    path.write_bytes(gzip.compress(f"{json.dumps(event)}\n".encode()))
    added(path, "b")
    assert ids(path) == ["a", "b"]


def test_an_archive_is_never_written_through_a_link(path, tmp_path):
    """The link's target keeps its content, whether it is an archive or not."""
    target = tmp_path / "target"
    added(target, "a")
    before = target.read_bytes()
    path.symlink_to(target)
    with pytest.raises(InputError, match="is a symbolic link"):
        Archive(path)
    assert target.read_bytes() == before


@pytest.mark.parametrize("harm", ["removed", "replaced", "renamed", "linked"])
def test_a_batch_is_not_kept_if_the_file_is_gone(path, tmp_path, harm):
    """The path names another file or none by then, so the rows must stay: add raises and the batch is rolled back."""
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


def test_a_damaged_archive_names_the_command_that_keeps_what_is_whole(path):
    """An operator can continue it knowingly."""
    added(path, "ab")
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0" * 100)
    with pytest.raises(InputError) as refused:
        Archive(path)
    assert f"truncate -s {whole} {path}" in refused.value.hint


def test_damage_in_the_middle_is_told(path):
    """Nothing is added behind what cannot be read."""
    added(path, "ab", "cd")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 - 6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Archive(path)


def test_two_writers_at_once_are_refused(path):
    """Their batches would be mixed."""
    with Archive(path), pytest.raises(LockedError):
        Archive(path)


def test_a_full_disk_leaves_the_file_as_it_was(path):
    """What was whole before stays whole, and nothing of the failed batch is in it."""
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
def test_a_place_that_is_no_file_is_refused(tmp_path, place):
    """A folder, or a folder that is not there."""
    with pytest.raises(InputError, match="cannot be opened"):
        Archive(tmp_path / place)


def test_a_device_is_refused(tmp_path):
    """What cannot be synced keeps nothing."""
    os.mkfifo(tmp_path / "pipe")
    for place in (Path("/dev/null"), tmp_path / "pipe"):
        with pytest.raises(InputError, match="not a regular file"):
            Archive(place)


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n"])
def test_a_line_that_is_no_event_is_told(path, line):
    """A gzip of something else."""
    path.write_bytes(gzip.compress(line))
    with pytest.raises(InputError, match="holds a line"):
        ids(path)


def test_a_large_batch_is_not_held(path):
    """Forty megabytes in one member are read, and opened, in the memory of a few pieces."""
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


def test_a_line_without_an_end_is_told(path):
    """A few compressed kilobytes may hold gigabytes."""
    path.write_bytes(gzip.compress(b'{"id": "' + b"x" * 40_000_000, 1))
    with pytest.raises(InputError, match="longer than any event"):
        ids(path)


def test_events_are_whole_wherever_a_piece_ends(path):
    """Lines that lie across pieces and members without a last line's end are read as they were written."""
    names = [f"{n}-{'y' * (n % 300_000)}" for n in range(0, 3_000_000, 99_991)]
    lines = [f'{{"id": "{name}"}}'.encode() for name in names]
    path.write_bytes(gzip.compress(b"\n".join(lines[:20])) + gzip.compress(b"\n".join(lines[20:])))
    assert ids(path) == names


def test_a_missing_archive_is_told(path):
    """Reading makes no file."""
    with pytest.raises(InputError, match="cannot be opened"):
        ids(path)
    assert not path.exists()
