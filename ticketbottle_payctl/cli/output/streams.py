"""Make the process's stdout and stderr safe before the first command runs.

stderr is for messages. If a message cannot be written, payctl drops it and continues. stdout is for the result. If the
result cannot be written, :class:`ReaderGoneError` or :class:`OutputError` is raised, and nothing more is written to
stdout.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO, TypeVar

from ticketbottle_payctl.errors import OutputError

_T = TypeVar("_T")

_READER_GONE = {errno.EPIPE, errno.ECONNRESET}


class ReaderGoneError(BrokenPipeError):
    """The error that is raised if the reader of stdout closes the pipe, as ``head`` does.

    A closed pipe is not a failure.
    """


class ResultStream(TextIOWrapper):
    """A stdout that raises only :class:`ReaderGoneError` or :class:`OutputError` if a write fails."""

    def write(self, text: str, /) -> int:
        """Write text. The text may stay in the buffer until :meth:`flush` is called.

        Empty text is ignored, because a library that tests the stream by writing empty text would hide the error.
        """
        if text == "":
            return 0
        return _written(self, lambda: super(ResultStream, self).write(text))

    def flush(self) -> None:
        """Write the buffered text."""
        _written(self, super().flush)


class TalkStream(TextIOWrapper):
    """A stderr that never raises an error. After a failed write, it still tries to write the next message."""

    def write(self, text: str, /) -> int:
        """Write text. If the write fails, drop the text."""
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write the buffered text. If the write fails, keep the text for the next call."""
        with suppress(OSError):
            super().flush()


def protect_streams() -> None:
    """Make stdin, stdout and stderr usable, even if the caller closed them.

    A closed stream is replaced with ``/dev/null``. Otherwise a new socket or file might get the stream's file
    descriptor, and would then receive the messages. Characters that a stream cannot encode are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        _open_if_closed(number)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
    for name, kind in (("stdout", ResultStream), ("stderr", TalkStream)):
        stream = _as(kind, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)  # the original stream is detached now


def leave_streams() -> None:
    """Flush stdout and stderr before the process ends. A failed flush does not change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, OutputError):
            silence(stream)


def silence(stream: TextIO) -> None:
    """Redirect the stream to ``/dev/null``, so that the interpreter's flush at exit does not fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a file descriptor needs no redirection
        return


def write_failure(error: OSError) -> ReaderGoneError | OutputError:
    """Return the error to raise after a failed write to stdout."""
    if error.errno in _READER_GONE or isinstance(error, BrokenPipeError):
        return ReaderGoneError(error.errno, error.strerror)
    return OutputError(f"cannot write to stdout: {(error.strerror or type(error).__name__).lower()}")


def _written(stream: TextIO, write: Callable[[], _T]) -> _T:
    try:
        return write()
    except OSError as error:
        silence(stream)
        raise write_failure(error) from error


def _as(kind: type[TextIOWrapper], stream: TextIO) -> TextIO:
    """Convert the stream to another stream class with the same encoding. A stream without a file stays unchanged."""
    if not isinstance(stream, TextIOWrapper):
        return stream
    encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
    return kind(
        stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines, write_through=through
    )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
