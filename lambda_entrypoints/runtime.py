"""Run each invocation with its log context, count cold starts, and report errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lambda_entrypoints import warm
from lambda_entrypoints.warm import Warm
from ticketbottle_payctl import metrics, tracing
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.logs import log_context, log_event
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.redaction import redact


class FunctionFailedError(Exception):
    """An unexpected error. The log contains the traceback. The error's message never contains a secret."""


@contextmanager
def invocation(function: Function, context: object, **on_every_line: object) -> Iterator[Warm]:
    """Yield the objects that are kept between invocations.

    If the block raises an error, log the error and raise it again, so that Lambda counts it.

    Raises:
        FunctionFailedError: the block raised an error that is not a ``PayctlError``. All connections
            are closed before this error is raised.
    """
    kept = warm.kept(function)
    cold, kept.cold = kept.cold, False
    request = getattr(context, "aws_request_id", None)
    with log_context(function_request_id=request, cold_start=cold, **on_every_line):
        if cold:
            metrics.emit(function, {"ColdStart": 1}, env=kept.env)
        try:
            yield kept
        except Exception as error:
            log_event(f"{function.value}_failed", level="error", error=error)
            if isinstance(error, PayctlError):
                raise
            kept.close()
            message = redact(f"{type(error).__name__}: {error}")
            raise FunctionFailedError(message) from None
        finally:
            tracing.flush()


def seconds_left(context: Any, reserve: float) -> float:  # noqa: ANN401 - Lambda's context has no type
    """Return the seconds until Lambda ends the invocation, minus ``reserve``, but at least one second."""
    left: float = context.get_remaining_time_in_millis() / 1000
    return max(1.0, left - reserve)
