"""Write and read an archive of events that were deleted from the outbox.

An archive is a gzipped NDJSON file, with one gzip member for each batch.

When :meth:`Archive.add` returns, the batch is on disk and the path still points to the same file. Only then is the
caller allowed to delete the batch's rows. If payctl crashes while it writes a batch, the file ends with an incomplete
member. The member's rows are still in the outbox, and the next run removes the member. If payctl crashes after it has
written a batch, the rows may be in both the archive and the outbox. Therefore the archive may contain an event twice,
but every deleted event is in it.

Each member's gzip header contains payctl's mark. payctl never changes a file that does not begin with this mark.

Each line is a row with the table's column names, so ``json_populate_record(NULL::outbox, line)`` restores the row. All
times are in UTC, without a time zone, as in the table.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from ticketbottle_payctl.errors import InputError, LockedError, UnavailableError

_CHUNK = 1 << 20
_MARK = b"PC\x01\x001"
"""The gzip extra field of an archive (RFC 1952, 2.3.1.1).

It contains the identifier PC and one byte for the format version, which is 1.
"""

_HEADER = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + len(_MARK).to_bytes(2, "little") + _MARK
_TELLING = 4  # the bytes that identify an archive; other gzip files have a different fourth byte
_COLUMNS = frozenset({"id", "aggregateId", "eventType", "payload"})
_GZIP = 31
_OF_OTHERS = 0o077
_LONGEST_LINE = 16 * 1024 * 1024


class Archive:
    """An archive file to which only one process can append at a time.

    The file must be readable only by its owner, because payloads contain order data.

    Raises:
        InputError: the file cannot be opened, is a link or not a regular file, belongs to another user, is accessible
            to other users, or is not an archive. payctl does not change the file.
        LockedError: another process is adding to the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        try:
            _lock(self._file, path)
            self._end = _whole(self._file, path)
            _refuse_foreign(self._file, path, self._end)
            _only(path, self._cut)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def add(self, lines: Iterable[str]) -> None:
        """Append a batch. Return when the batch is on disk.

        Raises:
            UnavailableError: the batch cannot be written, for example because the disk is full. The file then stays
                unchanged. This error is also raised if the file was removed or replaced.
        """
        member = _member("".join(f"{line}\n" for line in lines).encode())
        try:
            _write(self._file, member, self._end)
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                self._cut()
            _cannot_write(self.path, error)
        self._end += len(member)
        self._refuse_moved()

    def _refuse_moved(self) -> None:
        """Raise an error if the path no longer refers to the file that is being written."""
        try:
            there = self.path.lstat()
        except OSError:
            there = None
        here = os.fstat(self._file)
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            message = f"{self.path} was removed or replaced while payctl was writing events to it"
            raise UnavailableError(message, hint="no event of this batch was deleted; run the cleanup again")

    def _cut(self) -> None:
        os.ftruncate(self._file, self._end)
        os.fsync(self._file)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events in an archive, in the order of the file. If the last batch is incomplete, leave it out.

    The file is read twice: the first pass only finds the end of the last complete batch. Only one event is in memory at
    a time.

    Raises:
        InputError: the file cannot be read, or is not an archive.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would wait forever
    except OSError as error:
        _cannot_open(path, error)
    try:
        _refuse_irregular(os.fstat(file), path, "give the path of a file; payctl reads an archive twice")
        for line in _lines(file, path, _whole(file, path)):
            yield _event(line, path)
    finally:
        os.close(file)


def _member(content: bytes) -> bytes:
    """Compress the content into a gzip member with payctl's mark."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(content) + packer.flush()
    check = zlib.crc32(content).to_bytes(4, "little") + (len(content) & 0xFFFFFFFF).to_bytes(4, "little")
    return _HEADER + packed + check


def _refuse_foreign(file: int, path: Path, end: int) -> None:
    """Raise an error if the file has content but is not an archive.

    An archive from an earlier payctl version has no mark, so its first line is checked. payctl never removes an
    incomplete member from such an archive.
    """
    first = os.pread(file, len(_HEADER), 0)
    if not first or (len(first) >= _TELLING and first == _HEADER[: len(first)]):
        return
    line = next(_lines(file, path, end), b"")
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not (isinstance(event, dict) and event.keys() >= _COLUMNS):
        message = f"{path} is not a payctl archive"
        raise InputError(message, hint="the file was not changed; give the name of an archive or of a new file")


def _event(line: bytes, path: Path) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        message = f"{path} contains a line that is not JSON"
        raise InputError(message) from error
    if not isinstance(event, dict):
        message = f"{path} contains a line that is not an event"
        raise InputError(message)
    return event


def _open(path: Path) -> int:
    try:
        existed = path.exists()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            message = f"{path} is a symbolic link"
            raise InputError(
                message, hint="give the path of the file itself; payctl does not write an archive through a link"
            ) from error
        _cannot_open(path, error)
    try:
        _refuse_unsafe(os.fstat(file), path)
    except BaseException:
        os.close(file)
        raise
    if not existed:
        _only(path, lambda: _sync_directory(path.parent))
    return file


def _refuse_unsafe(found: os.stat_result, path: Path) -> None:
    """Raise an error unless the file is a regular file that only this user can access.

    In a directory that several users can write to, another user might create the file first and then read the events.
    """
    _refuse_irregular(
        found, path, "give the path of a file; payctl syncs an archive to the disk before it deletes events"
    )
    if found.st_uid != os.geteuid():
        message = f"{path} belongs to another user"
        raise InputError(message, hint="run the cleanup as that user, or give the name of a new file")
    if stat.S_IMODE(found.st_mode) & _OF_OTHERS:
        message = f"other users have access to {path}, and an archive contains personal data"
        raise InputError(message, hint=f"remove their access: chmod go= {shlex.quote(str(path))}")


def _refuse_irregular(found: os.stat_result, path: Path, hint: str) -> None:
    """Raise an error unless the file is a regular file."""
    if not stat.S_ISREG(found.st_mode):
        message = f"{path} is not a regular file"
        raise InputError(message, hint=hint)


def _sync_directory(path: Path) -> None:
    """Sync a directory to disk. Otherwise a power failure might remove a newly created file."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        message = f"another cleanup is writing to {path}"
        raise LockedError(message, hint="wait until that cleanup ends, or give another file") from error


class _Piece(NamedTuple):
    """A part of a gzip member's content.

    For a member's last part, ``end`` is the position in the file where the member ends. Otherwise ``end`` is None.
    """

    content: bytes
    end: int | None


def _whole(file: int, path: Path) -> int:
    """Return the position in the file where the last complete member ends.

    Raises:
        InputError: the content is damaged or not in gzip format. The file is not changed.
    """
    return max((piece.end for piece in _pieces(file, path) if piece.end is not None), default=0)


def _lines(file: int, path: Path, end: int) -> Iterator[bytes]:
    """Yield the lines in the members up to ``end``. Only one part and one line are in memory at a time."""
    rest = b""
    for piece in _pieces(file, path) if end else ():
        *lines, rest = (rest + piece.content).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            message = f"{path} contains a line that is longer than any event"
            raise InputError(message)
        if piece.end is not None:
            yield from [rest] if rest else []
            rest = b""
            if piece.end >= end:
                return


def _pieces(file: int, path: Path) -> Iterator[_Piece]:
    """Yield the content of all members in parts. The last member may be incomplete.

    Raises:
        InputError: the content is damaged or not in gzip format. The file is not changed.
    """
    end = at = 0
    member = zlib.decompressobj(_GZIP)
    while chunk := os.pread(file, _CHUNK, at):
        at += len(chunk)
        while chunk:
            try:
                content = member.decompress(chunk, _CHUNK)
            except zlib.error as error:
                message = f"{path} is not a payctl archive, or is damaged after its first {end:,} bytes"
                keep = f"; or keep the undamaged part: truncate -s {end} {shlex.quote(str(path))}" if end else ""
                raise InputError(message, hint=f"the file was not changed; give another file{keep}") from error
            chunk = member.unused_data or member.unconsumed_tail
            if member.eof:
                end = at - len(chunk)
                member = zlib.decompressobj(_GZIP)
                yield _Piece(content, end)
            else:
                yield _Piece(content, None)


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _only(path: Path, act: Callable[[], None]) -> None:
    """Call ``act``. If ``act`` raises an OSError, raise the error of a file that cannot be written."""
    try:
        act()
    except OSError as error:
        _cannot_write(path, error)


def _cannot_open(path: Path, error: OSError) -> NoReturn:
    message = f"{path} cannot be opened: {error.strerror or type(error).__name__}"
    raise InputError(message) from error


def _cannot_write(path: Path, error: OSError) -> NoReturn:
    message = f"{path} cannot be written: {error.strerror or type(error).__name__}"
    raise UnavailableError(
        message, hint="every deleted event is in the file; free some disk space, then run the cleanup again"
    ) from error
