"""What stands between a command and the rows it would change.

::

    read              nothing
    routine           one line that names profile, database and brokers (``Session.note_target``), then permit()
    bulk, by hand     approve(): the plan with its counts, then a question whose default is No
    protected         also --reason, and the profile's name typed or given with --confirm
    over the cap      refused, with the number to raise
    read-only         never

Where nobody can be asked (no terminal, ``--no-input``, a form for programs) the plan is printed and without ``--yes``
the command ends. Nothing was changed whenever this raises.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ticketbottle_payctl.cli import render
from ticketbottle_payctl.cli.human import is_terminal
from ticketbottle_payctl.cli.result import Block
from ticketbottle_payctl.cli.session import Session
from ticketbottle_payctl.cli.shared import OutputFormat
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.telemetry import log_event

DEFAULT_MAX_AFFECTED = 1000


@dataclass(frozen=True, slots=True)
class Act:
    """What is about to be done, with its counts: ``Act("replay", 1234, "events", plan)``."""

    verb: str
    affected: int
    noun: str
    plan: Sequence[Block] = ()
    beyond_rows: bool = False
    """Something beside the rows is changed, so that it wants leave even where no row is."""

    @property
    def text(self) -> str:
        """In words: ``replay 1,234 events``."""
        return f"{self.verb} {self.affected:,} {self.noun}"


@dataclass(frozen=True, slots=True)
class Approval:
    """What was given on the command line: ``--yes``, ``--reason``, ``--max-affected``, ``--confirm``."""

    yes: bool = False
    reason: str | None = None
    max_affected: int | None = None
    confirm: str | None = None


def permit(session: Session, verb: str, approval: Approval | None = None) -> None:
    """Let a routine act through: never on a read-only profile, named and with a reason on a protected one.

    Raises:
        GuardError: the profile does not allow it.
        ConfigError: the profile or its file is not there or not understood.
    """
    approval = approval or Approval()
    refuse_read_only(session, verb)
    if session.profile.guard.protected:
        _require(verb, _missing(session, approval, yes=True))
        _check_name(session, approval)
    if session.profile.guard.protected or approval.reason:
        _log(session, verb, approval, None)


def approve(session: Session, act: Act, approval: Approval) -> None:
    """Show the plan and return once the act is allowed. Where nothing is affected, no leave is needed.

    Raises:
        GuardError: read-only, over the cap, no reason or name on a protected profile, or the answer was not yes.
        ConfigError: the profile or its file is not there or not understood.
    """
    refuse_read_only(session, act.verb)
    if act.affected == 0 and not act.beyond_rows:
        return
    asks = can_ask(session)
    if not (session.shared.quiet and approval.yes):
        render.tell_blocks(session.shared.color, act.plan)
    _refuse_over_cap(session, act, approval)
    _require(act.text, _missing(session, approval, yes=approval.yes or asks))
    if not approval.yes and _ask(session, f"{act.text[:1].upper()}{act.text[1:]}? [y/N]").lower() not in {"y", "yes"}:
        message = f"not confirmed: {act.text}"
        raise GuardError(message, hint="nothing was changed; answer y, or give --yes")
    if session.profile.guard.protected:
        _check_name(session, approval)
    _log(session, act.verb, approval, act.affected)


def can_ask(session: Session) -> bool:
    """Whether a person can be asked: stdin and stderr are a terminal, and neither options nor the form forbid it."""
    for_people = session.shared.output in {OutputFormat.TABLE, OutputFormat.NONE}
    return for_people and not session.shared.no_input and is_terminal(sys.stdin) and is_terminal(sys.stderr)


def max_affected(session: Session, approval: Approval) -> int:
    """How many rows one command may change: as typed, else as the profile says, else 1,000."""
    if approval.max_affected is not None:
        return approval.max_affected
    of_profile = session.profile.guard.max_affected
    return DEFAULT_MAX_AFFECTED if of_profile is None else of_profile


def refuse_read_only(session: Session, verb: str) -> None:
    """Stop where nothing may ever be changed: first in :func:`permit` and :func:`approve`, here for a costly plan.

    Raises:
        GuardError: the profile is read-only.
    """
    if session.profile.guard.read_only:
        message = f"profile {session.profile.name} is read-only: {verb} would change something"
        raise GuardError(message, hint="look with -n where the command has it, or use another profile")


def _refuse_over_cap(session: Session, act: Act, approval: Approval) -> None:
    cap = max_affected(session, approval)
    if act.affected > cap:
        message = f"{act.text} is more than the {cap:,} that one command may change"
        raise GuardError(message, hint=f"select fewer, or add --max-affected {act.affected}")


def _missing(session: Session, approval: Approval, *, yes: bool) -> list[str]:
    """The options without which it does not go on, as they are typed."""
    missing = [] if yes else ["--yes"]
    if session.profile.guard.protected:
        if not (approval.reason or "").strip():
            missing.append("--reason TEXT")
        if approval.confirm is None and not can_ask(session):
            missing.append(f"--confirm {shlex.quote(session.profile.name or '')}")
    return missing


def _require(what: str, missing: list[str]) -> None:
    if missing:
        message = f"not confirmed: {what}"
        raise GuardError(message, hint=f"nothing was changed; look with -n, then add {' '.join(missing)}")


def _check_name(session: Session, approval: Approval) -> None:
    name = session.profile.name
    given = approval.confirm
    if given is None:
        given = _ask(session, f"Profile {name} is protected. Type its name to go on:")
    if given != name:
        message = f"not confirmed: the profile is {name}, what was given is another name"
        raise GuardError(message, hint=f"nothing was changed; type {name}, or give --confirm {shlex.quote(name or '')}")


def _ask(session: Session, question: str) -> str:
    """One line from the terminal. The question goes to stderr: stdout is for the result."""
    render.ask(session.shared.color, question)
    answer = sys.stdin.readline()
    if not answer:
        message = "not confirmed: the input ended before an answer"
        raise GuardError(message, hint="nothing was changed; answer, or give --yes")
    return answer.strip()


def _log(session: Session, verb: str, approval: Approval, affected: int | None) -> None:
    log_event("approved", act=verb, affected=affected, profile=session.profile.name, reason=approval.reason)
