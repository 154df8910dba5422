"""What one run of one command shares: its options, its profile, its services, and the way out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

import typer

from ticketbottle_payctl import telemetry
from ticketbottle_payctl.cli.app.global_options import Shared
from ticketbottle_payctl.cli.app.registry import schema_name
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.machine import Invocation
from ticketbottle_payctl.cli.output.result import Failure, Part, Result, dim, warn
from ticketbottle_payctl.cli.profile import labels
from ticketbottle_payctl.cli.profile.policy import GuardInForce, in_force
from ticketbottle_payctl.cli.profile.profiles import Profile, load
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.wiring import Services, hide_secrets, utc_now

_LEVELS = ("warning", "info", "debug")


class Session:
    """Made when a command starts. A test may put its own :class:`Services` on the context instead of ours."""

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
        hide_secrets(os.environ)

    @classmethod
    def of(cls, ctx: typer.Context) -> Session:
        """The session of a running command."""
        session = ctx.find_root().obj
        if not isinstance(session, cls):
            message = "a command runs inside a session"
            raise TypeError(message)
        return session

    @property
    def profile(self) -> Profile:
        """The settings in force.

        Raises:
            ConfigError: the profile or its file is not there or not understood.
        """
        if self._profile is None:
            self._profile = load(self.shared.profile, self.shared.config, self._environ)
        return self._profile

    @property
    def guard(self) -> GuardInForce:
        """What stands between this run and the database it leads to. Reads the file even where none was named.

        Raises:
            ConfigError: the file is there and not understood.
        """
        if self._guard is None:
            self._guard = in_force(self.profile, self.shared.config, self._environ)
        return self._guard

    @property
    def services(self) -> Services:
        """Engine, producer, clock and credentials, as the profile says."""
        if self._services is None:
            self._services = Services(self.profile.environ)
        return self._services

    @property
    def settings(self) -> Settings:
        """The settings, read once."""
        return self.services.settings

    def begin(self) -> None:
        """Start the log, and read the profile if one was named: a name that is ignored would mislead.

        Where the environment leads elsewhere than that profile, it is said.

        Raises:
            ConfigError: the profile or its file is not there or not understood.
        """
        telemetry.setup_logging(self._log_level())
        if self.shared.profile or self.shared.config:
            _ = self.services
            for sentence in self.profile.misled:
                self.note(warn("warning:"), sentence)

    def note(self, *parts: Part) -> None:
        """A line of talk on stderr; nothing with ``-q``."""
        if not self.shared.quiet:
            writer.tell(self.shared.color, *parts)

    def note_target(self, *, brokers: bool = False) -> None:
        """Say on stderr which profile, database and, where asked, brokers are about to be used.

        Raises:
            ConfigError: no database, or no broker, is configured.
        """
        name = self.profile.name or "none"
        parts: list[Part] = [dim("profile"), name, dim("· database"), labels.database(self.settings.database)]
        if brokers:
            parts += [dim("· brokers"), self.settings.kafka.brokers]
        self.note(*parts)

    def finish(self, result: Result) -> NoReturn:
        """Render the result, and the error that ended it where there is one, and leave with its code."""
        if result.error:
            writer.tell_failure(result.error, self.shared.color)
        self.answer(result)
        raise typer.Exit(int(result.exit_code))

    def fail(self, failure: Failure) -> NoReturn:
        """Render why it could not be done and leave with its code."""
        writer.tell_failure(failure, self.shared.color)
        if not self._answered:
            safe = replace(
                failure,
                message=telemetry.redact(failure.message),
                hint=telemetry.redact(failure.hint) if failure.hint else None,
            )
            self.answer(Result(schema_name(self.command or "error"), failure.exit_code, error=safe))
        raise typer.Exit(int(failure.exit_code))

    def answer(self, result: Result) -> None:
        """Write the one document of this run."""
        self._answered = True
        if not self.shared.quiet:
            writer.tell_warnings(result, self.shared.color)
        writer.emit(result, self.invocation(), self.shared.output, self.shared.color)

    def close(self) -> None:
        """Close what this session opened."""
        if self._owned and self._services is not None:
            self._services.close()

    def invocation(self) -> Invocation:
        """Which command this is, as whom, since when."""
        duration = round((time.monotonic() - self._started) * 1000)
        return Invocation(self.command, self.shared.profile, self.started_at, duration)

    @property
    def _environ(self) -> Mapping[str, str]:
        return self._services.environ if self._services and not self._owned else os.environ

    def _log_level(self) -> str:
        if self.shared.quiet and not self.shared.verbose:
            return "error"
        asked = _LEVELS[min(self.shared.verbose, len(_LEVELS) - 1)]
        named = os.environ.get("LOG_LEVEL", "").strip().lower()
        levels = telemetry.LEVELS
        return named if named in levels and levels[named] < levels[asked] else asked
