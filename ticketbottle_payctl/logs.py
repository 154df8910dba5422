"""Write log lines to stderr as JSON objects with an event name and fields. Secrets are redacted."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from ticketbottle_payctl.formats import rfc3339
from ticketbottle_payctl.redaction import redact, redact_field, redacted_traceback

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""The logging level for each value of LOG_LEVEL."""

_LEVEL_NAMES = {logging.WARNING: "WARN", logging.CRITICAL: "FATAL"}
_LOGGER = logging.getLogger("ticketbottle_payctl")
_context: ContextVar[Mapping[str, object] | None] = ContextVar("payctl_log_context", default=None)


def setup_logging(
    level: str,
    *,
    stream: TextIO | None = None,
    json: bool = True,
    tracebacks: bool = True,
    without: Collection[str] = (),
    **always: str,
) -> None:
    """Send every log record to stderr (or ``stream``) as JSON. Replace all other handlers.

    ``level`` is a key of :data:`LEVELS`. Every line contains the fields in ``always``, such as ``service`` and ``env``.
    If ``json`` is false, lines are plain text for people. If ``tracebacks`` is false, only the last line of a traceback
    is written. Events whose names are in ``without`` are not written.
    """
    handler = _Handler(stream)
    handler.addFilter(lambda record: record.getMessage() not in without)
    handler.setFormatter(_Formatter(always, json=json, tracebacks=tracebacks))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, LEVELS[level]))
    _LOGGER.setLevel(LEVELS[level])


def log_event(event: str, *, level: str = "info", error: BaseException | None = None, **fields: object) -> None:
    """Write one log line. ``event`` is a name such as ``webhook_settled``, not a sentence."""
    _LOGGER.log(LEVELS[level], event, exc_info=error, extra={"payctl_fields": fields})


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Add ``fields`` such as ``correlation_id`` to every line that is written inside the block."""
    token = _context.set({**(_context.get() or {}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class _Handler(logging.StreamHandler[TextIO]):
    """A handler that writes to the current ``sys.stderr``, even if the stream was replaced."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._fixed = stream is not None

    def emit(self, record: logging.LogRecord) -> None:
        if not self._fixed:
            self.stream = sys.stderr
        super().emit(record)


class _Formatter(logging.Formatter):
    def __init__(self, always: Mapping[str, object], *, json: bool, tracebacks: bool) -> None:
        super().__init__()
        self._always, self._json, self._tracebacks = always, json, tracebacks

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": rfc3339(datetime.fromtimestamp(record.created, UTC)),
            "level": _LEVEL_NAMES.get(record.levelno, record.levelname),
            "message": redact(record.getMessage()),
        }
        given = getattr(record, "payctl_fields", {})
        for name, value in {**self._always, **(_context.get() or {}), **given}.items():
            if value is not None:
                line.setdefault(name, redact_field(name, value))
        if record.name != _LOGGER.name:
            line["logger"] = record.name
        if record.exc_info and record.exc_info[1]:
            whole = redacted_traceback(record.exc_info[1])
            line["exception"] = whole if self._tracebacks else whole.strip().rpartition("\n")[2]
        return json.dumps(line, default=str) if self._json else _plain(line)


def _plain(line: dict[str, object]) -> str:
    """Format a line as plain text: ``warn: publish_outbox_waiting held=3``. Control characters are escaped."""
    head = (str(line.pop(name)) for name in ("timestamp", "level", "message"))
    _, level, message = head
    rest = " ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in line.items())
    return f"{level.lower()}: {json.dumps(message, ensure_ascii=False)[1:-1]} {rest}".rstrip()
