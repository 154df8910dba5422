"""Convert any exception that ends a command into a printed failure and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from ticketbottle_payctl.cli.app import registry
from ticketbottle_payctl.cli.app.session import TRACEBACK_VERBOSITY, Session
from ticketbottle_payctl.cli.output import exit_codes
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.result import Failure
from ticketbottle_payctl.cli.output.streams import ReaderGoneError
from ticketbottle_payctl.errors import PayctlError
from ticketbottle_payctl.redaction import redacted_traceback

_AGAIN = "run the command again: it continues where it stopped"
_FROM_THE_START = "run the command again"
_IN_FLIGHT, _UNCHANGED = "the current batch was finished or rolled back", "nothing was changed"


class TerminatedError(BaseException):
    """The error that SIGTERM raises.

    This class is not an ``Exception``, so that ``except Exception`` does not catch the error.
    """


@contextmanager
def failures(session: Callable[[], Session], help_command: Callable[[], str]) -> Iterator[None]:
    """Print any error that the block raises, and raise ``typer.Exit``.

    If the block raises ``typer.Exit``, print nothing.
    """
    try:
        yield
    except typer.Exit:
        raise
    except ReaderGoneError:  # the reader of a list or of the help has closed the pipe
        raise typer.Exit(int(ExitCode.DONE)) from None
    except (Exception, KeyboardInterrupt, TerminatedError) as error:  # noqa: BLE001 - no other code would catch the error
        current = session()
        if current.shared.verbose >= TRACEBACK_VERBOSITY:
            sys.stderr.write(redacted_traceback(error))
        current.fail(describe(error, help_command(), approved=current.approved))


def describe(error: BaseException, help_command: str, *, approved: bool = True) -> Failure:
    """Convert ``error`` into the failure that payctl reports to people and programs.

    ``approved`` is False if the command has not begun to change anything.
    """
    match error:
        case PayctlError():
            code = exit_codes.of_error(error)
            return Failure(error.code, error.message, code, error.hint, error.retryable, error.sql)
        case typer.TyperException():
            return Failure("USAGE", _usage_message(error), ExitCode.USAGE, help_command)
        case typer.Abort():
            return _abort(error, approved=approved)
        case KeyboardInterrupt():
            return _stopped(ExitCode.INTERRUPTED, approved=approved)
        case TerminatedError():
            return _stopped(ExitCode.TERMINATED, approved=approved)
        case _:
            message = f"unexpected {type(error).__name__}: this is a bug in payctl"
            return Failure("INTERNAL", message, ExitCode.BUG, "run the command again with -vv and report the output")


def _abort(error: BaseException, *, approved: bool) -> Failure:
    """Return the failure for an unanswered prompt: either the user pressed Ctrl-C, or the input ended."""
    if isinstance(error.__context__, KeyboardInterrupt):
        return _stopped(ExitCode.INTERRUPTED, approved=approved)
    return Failure(
        "GUARD", "not confirmed: the input ended without an answer", ExitCode.GUARD, "answer y, or add --yes"
    )


def _stopped(code: ExitCode, *, approved: bool) -> Failure:
    """Return the failure of a command that a signal ended."""
    by = "interrupted" if code is ExitCode.INTERRUPTED else "stopped by SIGTERM"
    message = f"{by}; {_IN_FLIGHT if approved else _UNCHANGED}"
    return Failure(code.name, message, code, _AGAIN if approved else _FROM_THE_START, retryable=True)


def _usage_message(error: typer.TyperException) -> str:
    possible: list[str] = list(getattr(error, "possibilities", None) or ())  # options that resemble the misspelt option
    typed = getattr(error, "option_name", "")
    near = [each for each in possible if each.startswith(typed)] or possible[:1]
    text = " ".join((error.message if near else error.format_message()).split())
    return (text[:1].lower() + text[1:]).rstrip(".") + registry.did_you_mean(near)
