"""Provide a running command with its options, profile and services, and with methods to end it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from shutil import get_terminal_size
from typing import TYPE_CHECKING, NoReturn

import typer

from ticketbottle_payctl.cli.app.global_options import Shared
from ticketbottle_payctl.cli.app.registry import schema_name
from ticketbottle_payctl.cli.output import exit_codes, instants, writer
from ticketbottle_payctl.cli.output.exit_codes import ExitCode
from ticketbottle_payctl.cli.output.machine import Invocation
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Failure, Part, Result, warn
from ticketbottle_payctl.cli.output.surface import ask_colour, is_terminal
from ticketbottle_payctl.cli.profile.profiles import Profile, load
from ticketbottle_payctl.errors import ConfigError, OutputError
from ticketbottle_payctl.redaction import redact
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.wiring import Services, hide_secrets, utc_now

if TYPE_CHECKING:
    from ticketbottle_payctl.cli.profile.guard_in_force import GuardInForce

_LEVELS = ("warning", "info", "debug")
TRACEBACK_VERBOSITY = 2
"""How many ``-v`` flags make payctl show tracebacks."""

_TOLD_BY_RESULTS = frozenset({"outbox_dead_events", "outbox_late_events"})
"""The names of log events that only repeat the command's result."""

_WORK_STANDS = "free some space; the command's work is done, and its exit code shows the result"


class Session:
    """One run of a command. A test can pass its own :class:`Services` through the context."""

    def __init__(self, command: str | None, shared: Shared, services: Services | None = None) -> None:
        self.command = command
        self.shared = shared
        self.started_at = utc_now()
        self._started = time.monotonic()
        self._profile: Profile | None = None
        self._guard: GuardInForce | None = None
        self._services = services
        self._owned = services is None
        self._answered = False
        self._zone_doubted = False
        self._names_target = False
        self._names_brokers = False
        self._below: list[tuple[Part, ...]] = []
        self._last: list[tuple[Part, ...]] = []
        self.approved = False
        """Whether ``safety.confirm`` has approved a change in this run."""
        hide_secrets(os.environ)

    @classmethod
    def of(cls, ctx: typer.Context) -> Session:
        """Return the session of a running command."""
        session = ctx.find_root().obj
        if not isinstance(session, cls):
            message = "the context of this command has no session"
            raise TypeError(message)
        return session

    @property
    def profile(self) -> Profile:
        """The settings of the profile in use.

        Raises:
            ConfigError: the profile or its file is missing or cannot be read.
        """
        if self._profile is None:
            self._profile = load(self.shared.profile, self.shared.config, self._environ)
        return self._profile

    @property
    def guard(self) -> GuardInForce:
        """The guard that protects the database in use. The configuration file is read even if no profile was given.

        Raises:
            ConfigError: the file exists but cannot be read.
        """
        if self._guard is None:
            from ticketbottle_payctl.cli.profile.guard_in_force import in_force  # noqa: PLC0415 - not for --help

            self._guard = in_force(self.profile, self.shared.config, self._environ)
        return self._guard

    @property
    def zone(self) -> tzinfo:
        """The time zone for reading and showing times: ``--tz``, then the profile's zone, then the machine's.

        Raises:
            ConfigError: the profile or its file is missing or invalid, or TZ is not a time zone.
        """
        from ticketbottle_payctl.settings.time_zone import machine_zone, time_zone  # noqa: PLC0415 - only for commands with instants

        name = self.shared.tz or self.profile.tz
        return time_zone(name) if name else machine_zone()

    def recognise_server(self) -> None:
        """Read the server's identifier if any other profile contains one, because that profile's guard may apply too.

        Raises:
            DatabaseUnavailableError: the server cannot be reached.
            ConfigError: the file cannot be understood, or the connection settings are invalid.
        """
        if self.guard.recognisable:
            from ticketbottle_payctl.jobs.server_identity import server_identity  # noqa: PLC0415 - loads the driver

            self._guard = self.guard.on_server(*server_identity(self.services.engine))

    @property
    def services(self) -> Services:
        """The engine, producer, clock and credentials for the profile."""
        if self._services is None:
            self._services = Services(self.profile.environ, application=f"payctl {self.command or ''}".rstrip())
        return self._services

    @property
    def settings(self) -> Settings:
        """The settings, which are read once."""
        return self.services.settings

    def begin(self) -> None:
        """Set up the log, show instants in this run's zone, and load the profile if one was given.

        On a terminal, log lines are JSON only if the user asked for the log with -v or LOG_LEVEL. Otherwise the log
        leaves out events that repeat the command's result. The log contains tracebacks only with -vv. The profile is
        loaded now, so that an unknown name is never ignored. If an environment variable overrides the profile, payctl
        prints a warning.

        Raises:
            ConfigError: the profile or its file is missing or cannot be read.
        """
        from ticketbottle_payctl import logs  # noqa: PLC0415 - not for --help

        asked = self.shared.verbose or os.environ.get("LOG_LEVEL", "").strip()
        json = bool(asked) or not is_terminal(sys.stderr)
        tracebacks = self.shared.verbose >= TRACEBACK_VERBOSITY
        logs.setup_logging(
            self._log_level(logs.LEVELS), json=json, tracebacks=tracebacks, without=() if json else _TOLD_BY_RESULTS
        )
        instants.show_in(self._zone_shown)
        ask_colour(self.shared.color)
        if self.shared.profile or self.shared.config:
            _ = self.services
            for sentence in self.profile.misled:
                self.note(warn("warning:"), sentence)

    def note(self, *parts: Part) -> None:
        """Print a line on stderr, unless ``-q`` was given."""
        if not self.shared.quiet:
            writer.tell(self.shared.color, *parts)

    def note_last(self, *parts: Part) -> None:
        """Print a line on stderr below the result, unless ``-q`` was given."""
        self._last.append(parts)

    def note_below(self, *parts: Part) -> None:
        """Print a line on stderr below the line about the target, unless ``-q`` was given."""
        self._below.append(parts)

    def note_target(self, *, brokers: bool = False) -> None:
        """Print a line on stderr with the profile, the database and, if ``brokers`` is True, the brokers.

        The line is printed below the first line of the answer, the plan or the error. A command that changes data
        before it shows any of these must call :meth:`tell_target_before_change`. The functions in ``safety.confirm``
        call it themselves.
        """
        self._names_target, self._names_brokers = True, brokers

    def tell_target_before_change(self) -> None:
        """Print the line about the target now, if it has not yet been printed.

        Raises:
            ConfigError: the database or the brokers are not configured.
        """
        if self._names_target:
            _ = self.settings.database, self._names_brokers and self.settings.kafka
        self.tell_target()

    def tell_target(self) -> None:
        """Print the line about the target and the lines below it, if they have not yet been printed."""
        named, self._names_target = self._names_target, False
        below, self._below = self._below, []
        if named and not self.shared.quiet:
            width = get_terminal_size().columns if is_terminal(sys.stderr) else None
            self.note(*self.target_parts(brokers=self._names_brokers, width=width))
        for parts in below:
            self.note(*parts)

    def target_parts(self, *, brokers: bool = False, width: int | None = None) -> list[Part]:
        """Return the line about the target for a command that fills the whole screen."""
        from ticketbottle_payctl.cli.app.target import target  # noqa: PLC0415 - not for --help

        return target(self.profile, lambda: self.guard, brokers=brokers, width=width)

    def finish(self, result: Result) -> NoReturn:
        """Print the result and its error, if any, and exit with the result's exit code."""
        if result.error:
            error = self._with_profile(result.error)
            result = replace(result, error=error)
            writer.tell_failure(error, self.shared.color, self.tell_target)
        raise typer.Exit(int(self.answer(result)))

    def fail(self, failure: Failure) -> NoReturn:
        """Print the failure, and exit with the failure's exit code."""
        failure = self._with_profile(failure)
        writer.tell_failure(failure, self.shared.color, self.tell_target)
        if not self._answered:
            safe = replace(
                failure,
                message=redact(failure.message),
                hint=redact(failure.hint) if failure.hint else None,
            )
            self.answer(Result(schema_name(self.command or "error"), failure.exit_code, error=safe))
        raise typer.Exit(int(failure.exit_code))

    def _with_profile(self, failure: Failure) -> Failure:
        from ticketbottle_payctl.cli.app.pasted_hints import with_profile  # noqa: PLC0415 - not for --help

        return with_profile(failure, self.shared)

    def answer(self, result: Result) -> ExitCode:
        """Write this run's only document. Return the exit code, which is normally the result's exit code.

        If payctl cannot write to stdout, report this on stderr. A command without approved changes then never returns
        0, because its answer is lost. A command with approved changes keeps its exit code.
        """
        self._answered = True
        below = self.shared.output is OutputFormat.TABLE and not result.error  # a table comes before its warnings
        if not below:
            self._warn(result)
        try:
            writer.emit(result, self.invocation(), self.shared.output, self.shared.color, self.tell_target)
            if below:
                self._warn(result)
            for parts in self._last:
                self.note(*parts)
        except OutputError as error:
            if below:
                self._warn(result)
            code = exit_codes.of_error(error)
            hint = _WORK_STANDS if self.approved else error.hint
            writer.tell_failure(Failure(error.code, error.message, code, hint, error.retryable), self.shared.color)
            return result.exit_code if self.approved else result.exit_code or code
        return result.exit_code

    def close(self) -> None:
        """Close the services that this session opened."""
        if self._owned and self._services is not None:
            self._services.close()

    def invocation(self) -> Invocation:
        """Return the command, the profile, the start time and the duration of this run."""
        duration = round((time.monotonic() - self._started) * 1000)
        return Invocation(self.command, self.shared.profile, self.started_at, duration)

    def _warn(self, result: Result) -> None:
        if not self.shared.quiet:
            writer.tell_warnings(result, self.shared.color)

    def _zone_shown(self) -> tzinfo:
        """Return the zone for results. If TZ is invalid, use UTC and warn once, so that the result is still shown."""
        try:
            return self.zone
        except ConfigError as error:
            if not self._zone_doubted:
                self._zone_doubted = True
                self.note(warn("warning:"), f"{error.message}; times are shown in UTC")
            return UTC

    @property
    def _environ(self) -> Mapping[str, str]:
        return self._services.environ if self._services and not self._owned else os.environ

    def _log_level(self, levels: Mapping[str, int]) -> str:
        if self.shared.quiet and not self.shared.verbose:
            return "error"
        asked = _LEVELS[min(self.shared.verbose, len(_LEVELS) - 1)]
        named = os.environ.get("LOG_LEVEL", "").strip().lower()
        return named if named in levels and levels[named] < levels[asked] else asked
