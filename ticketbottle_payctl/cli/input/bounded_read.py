"""Read a small file that somebody named, whatever it turns out to be, without hanging and without filling memory."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from typing import BinaryIO

from ticketbottle_payctl.cli.output.sanitize import escape
from ticketbottle_payctl.errors import BodyTooLargeError, InputError

PATIENCE = 10.0
"""Seconds a pipe or device that was named as a file may stay silent."""

_CHUNK = 65_536
_STDIN = "stdin"


def read_bounded(name: str, limit: int) -> bytes:
    """The content of a file, or of stdin for ``-``; never more than ``limit`` bytes are kept.

    Raises:
        BodyTooLargeError: there is more.
        InputError: it is missing, a directory, not readable, or a pipe that stays silent.
    """
    if name == "-":
        return _read_stdin(limit)
    try:
        # Non-blocking, or opening a named pipe that nobody writes to would wait for ever.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
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
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        message = f"{escape(name)} is a directory"
        raise InputError(message, hint="name a file, or - for stdin")
    if stat.S_ISREG(status.st_mode) and status.st_size > limit:
        raise _too_large(name, limit)
    waits = not stat.S_ISREG(status.st_mode)
    content = b""
    while len(content) <= limit:
        if waits:
            _wait(descriptor, name)
        chunk = os.read(descriptor, min(_CHUNK, limit + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    return _within(content, name, limit)


def _wait(descriptor: int, name: str) -> None:
    """Until there is something to read or the writer is gone. A pipe that never had a writer gives neither."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    started = time.monotonic()
    if not poll.poll(PATIENCE * 1000):
        message = f"{escape(name)} gave nothing within {time.monotonic() - started:.0f} seconds"
        raise InputError(message, hint="it is a pipe that nobody writes to, or a device that is silent")


def _within(content: bytes, name: str, limit: int) -> bytes:
    if len(content) > limit:
        raise _too_large(name, limit)
    return content


def _too_large(name: str, limit: int) -> BodyTooLargeError:
    message = f"{escape(name)} is larger than {limit:,} bytes"
    return BodyTooLargeError(message, hint="a gateway's callback is smaller than 4 kB: is this the right file?")


def _unreadable(name: str, error: OSError | ValueError) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or "not a file name"
    message = f"{escape(name)} cannot be read: {reason[:1].lower()}{reason[1:]}"
    return InputError(message, hint="name a file that exists, or - for stdin")
