"""Build the commands that payctl suggests, so that they work when a user pastes them.

A command contains this run's profile and configuration file, and the options that the guard requires. For a protected
profile, these are a reason and the profile's name. A command that changes more rows than the limit contains a higher
--max-affected. A bulk change still shows its plan and asks for confirmation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from ticketbottle_payctl.cli.app.pasted_hints import profile_options
from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.safety.confirm import DEFAULT_MAX_AFFECTED
from ticketbottle_payctl.domain.causes import LateFailures
from ticketbottle_payctl.domain.causes.late_failures import before_publishing, before_replay, dry_run_of
from ticketbottle_payctl.domain.causes.words import PUBLISH
from ticketbottle_payctl.formats import command_line

DRY_RUN = frozenset({"-n", "--dry-run"})
"""The spellings of the dry-run option. Without it, the same command applies the changes that the dry run showed."""

_LONGEST_BEFORE_REPLAY = timedelta(seconds=2)


class PublishAdvice(NamedTuple):
    """A command that publishes, or its dry run.

    If ``before`` is not None, the command is a dry run. ``before`` then says what to do before anything is published.
    """

    command: str
    before: str | None = None

    def rows(self, label: str) -> Iterator[tuple[str, str]]:
        """Yield labels and texts. ``label`` stands before a command that publishes, but not before a dry run."""
        if self.before is not None:
            yield "before publishing", self.before
        yield label if self.before is None else "dry run", self.command


@dataclass(frozen=True, slots=True)
class Adviser:
    """A builder of commands for the session's profile.

    ``reason`` is the value of ``--reason``, if a guard requires one. Every method raises:
        ConfigError: the profile or its file is missing or cannot be read.
        DatabaseUnavailableError: a profile contains a server identifier, and the server cannot be reached.
    """

    session: Session
    reason: str

    @property
    def read_only(self) -> str | None:
        """The name of the profile that forbids all changes, or None."""
        self.session.recognise_server()
        return self.session.guard.read_only

    def reading(self, verb: Sequence[str], operands: Sequence[str] = (), options: Sequence[str] = ()) -> str:
        """Return a command that does not change anything."""
        return command_line(verb, operands, [*options, *profile_options(self.session.shared)])

    def changing(
        self, verb: Sequence[str], operands: Sequence[str] = (), options: Sequence[str] = (), *, rows: int = 1
    ) -> str:
        """Return a command that changes ``rows`` rows. A ``close`` command always contains the reason."""
        needs_reason = [*verb] == ["close"]
        return command_line(
            verb,
            operands,
            [*options, *profile_options(self.session.shared), *self._guard(rows, needs_reason=needs_reason)],
        )

    def publishing(self, options: Sequence[str] = (), *, longest: timedelta | None = None) -> PublishAdvice:
        """Return the command that publishes.

        Return its dry run instead if a pending failure event would take a paid order's tickets, or if payctl cannot
        read whether one would. Each of the two statements that find this out takes at most ``longest``.
        """
        before, preview = before_publishing(self._late_failures(longest)), dry_run_of(options)
        if before is not None:
            return PublishAdvice(self.reading(preview.verb, options=preview.options), before)
        return PublishAdvice(self.changing(PUBLISH.verb, options=options))

    def before_replay(self) -> str | None:
        """Return what to do before a replay, or None if no pending failure event would take a paid order's tickets.

        Each of the two statements that find this out takes at most two seconds. If they take longer, return None.
        """
        return before_replay(self._late_failures(_LONGEST_BEFORE_REPLAY))

    def _late_failures(self, longest: timedelta | None) -> LateFailures | None:
        from ticketbottle_payctl.store.outbox import orders_at_risk  # noqa: PLC0415 - not needed for --help

        engine, retries = self.session.services.engine, self.session.settings.max_retries
        return orders_at_risk.known_late_failures(engine, retries, longest or orders_at_risk.LONGEST)

    def again(self, arguments: Sequence[str], *, without: Collection[str], rows: int = 1) -> str | None:
        """Return the command that the user typed, without the options in ``without``, and with the guard's options.

        The guard's options are for a change of ``rows`` rows. Return None if the command cannot be repeated, because it
        reads stdin or does not contain any of the ``without`` options as a separate word.
        """
        typed = [each for each in arguments if each not in without]
        if len(typed) == len(arguments) or "-" in typed:
            return None
        end = typed.index("--") if "--" in typed else len(typed)
        guard = [*self._guard(rows)]
        for option, value in zip(guard[::2], guard[1::2], strict=True):
            if not any(each.partition("=")[0] == option for each in typed):
                typed[end:end] = [option, value]
                end += 2
        return command_line(typed)

    def _guard(self, rows: int, *, needs_reason: bool = False) -> Iterator[str]:
        self.session.recognise_server()
        guard = self.session.guard
        if rows > guard.cap(DEFAULT_MAX_AFFECTED).most:
            yield from ("--max-affected", str(rows))
        if guard.protected is not None:
            yield from ("--reason", self.reason, "--confirm", guard.protected)
        elif needs_reason:
            yield from ("--reason", self.reason)
