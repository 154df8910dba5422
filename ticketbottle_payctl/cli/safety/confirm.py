"""Ask for approval before a command changes something.

::

    a command that reads       nothing
    a routine change           permit(): one line with profile, database and brokers (``Session.note_target``)
    a bulk or manual change    approve(): the plan with its counts, then a question whose default is No
    a protected profile        also --reason, and the profile's name, typed or given with --confirm
    more rows than the limit   refused; the message names the option to raise
    a read-only profile        always refused

A guard belongs to a database, so the guard of another profile with the same database also applies
(``profile.guard_in_force``). In this case, the message contains the other profile's name. If no person can answer (no
terminal, ``--no-input``, a format for programs), payctl prints the plan. Without ``--yes``, the command then ends. If a
function in this module raises an error, payctl has not changed anything.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.output_format import OutputFormat
from ticketbottle_payctl.cli.output.result import Block
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.formats import PLACEHOLDER, count
from ticketbottle_payctl.logs import log_event

DEFAULT_MAX_AFFECTED = 1000

APPROVED_ROWS = "max_affected"
"""The key under which a run records how many rows were approved, so that a resumed run does not need a new approval."""


@dataclass(frozen=True, slots=True)
class Act:
    """A change that needs approval, such as ``Act("replay", 1234, "event", plan)``. ``noun`` is singular."""

    verb: str
    affected: int
    noun: str
    plan: Sequence[Block] = ()
    note: str = ""
    """A note that the question shows in parentheses after the count."""
    beyond_rows: bool = False
    """Whether the change needs approval even if it does not affect any rows."""

    @property
    def text(self) -> str:
        """A description of the change, such as ``replay 1,234 events``."""
        return f"{self.verb} {count(self.affected, self.noun)}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Approval:
    """The values of ``--yes``, ``--reason``, ``--max-affected`` and ``--confirm``."""

    yes: bool = False
    reason: str | None = None
    max_affected: int | None = None
    confirm: str | None = None


def permit(session: Session, verb: str, approval: Approval | None = None) -> None:
    """Raise an error if a routine change is not allowed. If the profile is protected, its name and a reason are needed.

    Raises:
        GuardError: the profile is read-only, or the profile is protected and its name or a reason is missing.
        ConfigError: the profile or its file is missing or cannot be read.
    """
    approval = approval or Approval()
    refuse_read_only(session, verb)
    _refuse_other_name(session, approval)
    if session.guard.protected is not None:
        _require(verb, _missing(session, approval, yes=True))
    session.tell_target_before_change()
    if session.guard.protected is not None:
        _check_name(session, approval)
    if session.guard.protected is not None or approval.reason:
        _log(session, verb, approval, None)
    session.approved = True


def approve(session: Session, act: Act, approval: Approval) -> None:
    """Print the plan, and raise an error if the change is not approved. A change without effect does not need approval.

    Raises:
        GuardError: the profile is read-only, the change is over the limit, a protected profile's name or a reason is
            missing, or the answer was not yes.
        ConfigError: the profile or its file is missing or cannot be read.
    """
    refuse_read_only(session, act.verb)
    if act.affected == 0 and not act.beyond_rows:
        return
    _refuse_other_name(session, approval)
    asks = can_ask(session)
    if act.plan and not (session.shared.quiet and approval.yes):
        writer.tell_blocks(session.shared.color, act.plan, session.tell_target)
    _refuse_over_cap(session, act, approval)
    _require(act.text, _missing(session, approval, yes=approval.yes or asks))
    session.tell_target_before_change()
    if not approval.yes and _ask(session, f"{act.text[:1].upper()}{act.text[1:]}? [y/N]").lower() not in {"y", "yes"}:
        message = f"not confirmed: {act.text}; nothing was changed"
        raise GuardError(message, hint="answer y, or add --yes")
    if session.guard.protected is not None:
        _check_name(session, approval)
    _log(session, act.verb, approval, act.affected)
    session.approved = True


def refuse_early(session: Session, act: Act, approval: Approval) -> None:
    """Raise the errors that :func:`approve` would raise for any plan.

    Call this before making an expensive plan.

    Raises:
        GuardError: the profile is read-only, or the change is over the limit.
    """
    refuse_read_only(session, act.verb)
    _refuse_over_cap(session, act, approval)


def can_ask(session: Session) -> bool:
    """Return whether a person can answer: stdin and stderr are terminals, and the options allow a question."""
    for_people = session.shared.output in {OutputFormat.TABLE, OutputFormat.NONE}
    return for_people and not session.shared.no_input and is_terminal(sys.stdin) and is_terminal(sys.stderr)


def max_affected(session: Session, approval: Approval) -> int:
    """Return how many rows one command is allowed to change.

    The option overrides the guard's limit or the default of 1,000.
    """
    return approval.max_affected or session.guard.cap(DEFAULT_MAX_AFFECTED).most


def refuse_read_only(session: Session, verb: str) -> None:
    """Raise an error if the profile does not allow changes. Call this before making an expensive plan.

    Raises:
        GuardError: the profile is read-only.
    """
    session.recognise_server()
    owner = session.guard.read_only
    if owner is not None:
        message = f"{_profile(session, owner)} is read-only, so {verb} is refused"
        raise GuardError(message, hint="use -n if the command supports it, or use another profile")


def _refuse_over_cap(session: Session, act: Act, approval: Approval) -> None:
    most = max_affected(session, approval)
    if act.affected > most:
        owner = session.guard.cap(DEFAULT_MAX_AFFECTED).owner
        source = f", set by {_profile(session, owner)}" if approval.max_affected is None and owner else ""
        message = f"{act.text} is over the limit of {count(most, 'row')} for one command{source.rstrip(',')}"
        raise GuardError(message, hint=f"select fewer rows, or add --max-affected {act.affected}")


def _missing(session: Session, approval: Approval, *, yes: bool) -> list[str]:
    """Return the options that are missing, as the operator would type them."""
    missing = [] if yes else ["--yes"]
    if session.guard.protected is not None:
        if not (approval.reason or "").strip():
            missing.append(f"--reason {PLACEHOLDER}")
        if approval.confirm is None and not can_ask(session):
            missing.append(f"--confirm {shlex.quote(session.guard.protected)}")
    return missing


def _require(what: str, missing: list[str]) -> None:
    if missing:
        message = f"not confirmed: {what}; nothing was changed"
        raise GuardError(message, hint=f"check with -n, then add {' '.join(missing)}")


def _refuse_other_name(session: Session, approval: Approval) -> None:
    """Raise an error if --confirm has the name of a profile that does not apply, even if confirmation is not needed."""
    names = [each.name for each in session.guard.profiles]
    if approval.confirm is not None and session.guard.protected is None and approval.confirm not in names:
        message = (
            f"not confirmed: --confirm does not name the profile in use, {session.profile.name or 'none'};"
            " nothing was changed"
        )
        raise GuardError(message, hint=f"use that profile with -p {shlex.quote(approval.confirm)}")


def _check_name(session: Session, approval: Approval) -> None:
    name = session.guard.protected or ""
    given = approval.confirm
    if given is None:
        whose = _profile(session, name)
        given = _ask(session, f"{whose[:1].upper()}{whose[1:]} is protected. Type its name to continue:")
    if given != name:
        message = f"not confirmed: the typed name is not {name}, the name of the profile; nothing was changed"
        raise GuardError(message, hint=f"type {name}, or add --confirm {shlex.quote(name)}")


def _profile(session: Session, name: str) -> str:
    """Return a profile's name. If the profile is not in use, add why its guard applies nevertheless."""
    return f"profile {name}" if name == session.profile.name else f"profile {name}, which has the same database,"


def _ask(session: Session, question: str) -> str:
    """Ask a question and return the line that the user types.

    Write the question to stderr, because stdout is for the result.
    """
    answer = ""
    try:
        writer.ask(session.shared.color, question)
        answer = sys.stdin.readline()
    finally:
        if not answer:  # Ctrl-C, SIGTERM or the end of the input: no newline has ended the question's line
            writer.tell(session.shared.color)
    if not answer:
        message = "not confirmed: the input ended without an answer; nothing was changed"
        raise GuardError(message, hint="answer y, or add --yes")
    return answer.strip()


def _log(session: Session, verb: str, approval: Approval, affected: int | None) -> None:
    log_event("approved", act=verb, affected=affected, profile=session.profile.name, reason=approval.reason)
