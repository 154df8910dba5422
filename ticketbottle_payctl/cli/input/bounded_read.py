"""Read a small file without blocking forever or filling the memory."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from typing import BinaryIO

from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.errors import BodyTooLargeError, InputError
from ticketbottle_payctl.formats import count, duration

PATIENCE = 10.0
"""How many seconds payctl waits for data from the command in a shell's ``<(command)``."""

_CHUNK = 65_536
_INHERITED = ("/dev/fd/", "/proc/self/fd/")
"""The prefixes of the paths that a shell passes for ``<(command)``.

Such a path leads to a pipe that the command writes to.
"""
_STDIN = "stdin"


def read_bounded(name: str, limit: int) -> bytes:
    """Return the content of a file, or of stdin if ``name`` is ``-``.

    Raises:
        BodyTooLargeError: the content is longer than ``limit`` bytes.
        InputError: the file is missing, not readable, not a regular file, or a shell's pipe that sends no data.
    """
    if name == "-":
        return _read_stdin(limit)
    try:
        # Non-blocking, because opening a named pipe without a writer would block forever.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:  # ValueError is raised for a NUL in the name
        raise _unreadable(name, error) from error
    try:
        return _read_descriptor(descriptor, name, limit)
    except OSError as error:
        raise _unreadable(name, error) from error
    finally:
        os.close(descriptor)


def _read_stdin(limit: int) -> bytes:
    stream: BinaryIO = sys.stdin.buffer
    try:
        content = stream.read(limit + 1)
    except OSError as error:
        raise _unreadable(_STDIN, error) from error
    return _within(content, _STDIN, limit)


def _read_descriptor(descriptor: int, name: str, limit: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        if os.fstat(descriptor).st_size > limit:
            raise _too_large(name, limit)
    elif not (stat.S_ISFIFO(mode) and name.startswith(_INHERITED)):
        message = f"{escape(name)} is {_kind(mode)}"
        raise InputError(message, hint="name a regular file, or give - and pipe the content in")
    pieces, length = [], 0
    while length <= limit:
        if not stat.S_ISREG(mode):
            _wait(descriptor, name)
        chunk = os.read(descriptor, min(_CHUNK, limit + 1 - length))
        if not chunk:
            break
        pieces.append(chunk)
        length += len(chunk)
    return _within(b"".join(pieces), name, limit)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device" if not stat.S_ISSOCK(mode) else "a socket"


def _wait(descriptor: int, name: str) -> None:
    """Wait until data arrives or the writer closes the pipe. Raise an error if neither happens within ``PATIENCE``."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    started = time.monotonic()
    if not poll.poll(PATIENCE * 1000):
        message = f"{escape(name)} sent no data within {duration(time.monotonic() - started)}"
        raise InputError(message, hint="check the command that writes to the pipe")


def _within(content: bytes, name: str, limit: int) -> bytes:
    if len(content) > limit:
        raise _too_large(name, limit)
    return content


def _too_large(name: str, limit: int) -> BodyTooLargeError:
    message = f"{escape(name)} is larger than {count(limit, 'byte')}"
    return BodyTooLargeError(message, hint="a gateway's callback is smaller than 4 kB: is this the right file?")


def _unreadable(name: str, error: OSError | ValueError) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
    message = f"{escape(name)} cannot be read: {reason[:1].lower()}{reason[1:]}"
    return InputError(message, hint="name a file that exists, or - for stdin")
