"""What stands between a command and the rows it would change.

::

    read              nothing
    routine           one line that names profile, database and brokers (``Session.note_target``), then permit()
    bulk, by hand     approve(): the plan with its counts, then a question whose default is No
    protected         also --reason, and the profile's name typed or given with --confirm
    over the cap      refused, with the number to raise
    read-only         never

Whose guard counts is a matter of the database (``guard_in_force``). The message names the profile whose it is.

Where nobody can be asked (no terminal, ``--no-input``, a form for programs) the plan is printed and without ``--yes``
the command ends. Nothing was changed whenever this raises.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.output import writer
from ticketbottle_payctl.cli.output.format import OutputFormat
from ticketbottle_payctl.cli.output.result import Block
from ticketbottle_payctl.cli.output.surface import is_terminal
from ticketbottle_payctl.errors import GuardError
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.telemetry import log_event

DEFAULT_MAX_AFFECTED = 1000


@dataclass(frozen=True, slots=True)
class Act:
    """A change that needs approval. ``noun`` is singular: ``Act("replay", 1234, "event", plan)``."""

    verb: str
    affected: int
    noun: str
    plan: Sequence[Block] = ()
    note: str = ""
    """What a yes agrees to besides the count, in brackets."""
    beyond_rows: bool = False
    """Something beside the rows is changed, so that it wants leave even where no row is."""

    @property
    def text(self) -> str:
        """The act in words: ``replay 1,234 events``."""
        return f"{self.verb} {count(self.affected, self.noun)}" + (f" ({self.note})" if self.note else "")


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
    _refuse_other_name(session, approval)
    if session.guard.protected is not None:
        _require(verb, _missing(session, approval, yes=True))
        _check_name(session, approval)
    if session.guard.protected is not None or approval.reason:
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
    _refuse_other_name(session, approval)
    asks = can_ask(session)
    if not (session.shared.quiet and approval.yes):
        writer.tell_blocks(session.shared.color, act.plan)
    _refuse_over_cap(session, act, approval)
    _require(act.text, _missing(session, approval, yes=approval.yes or asks))
    if not approval.yes and _ask(session, f"{act.text[:1].upper()}{act.text[1:]}? [y/N]").lower() not in {"y", "yes"}:
        message = f"not confirmed: {act.text}"
        raise GuardError(message, hint="nothing was changed; answer y, or give --yes")
    if session.guard.protected is not None:
        _check_name(session, approval)
    _log(session, act.verb, approval, act.affected)


def refuse_early(session: Session, act: Act, approval: Approval) -> None:
    """What :func:`approve` would refuse whatever the plan holds, before the plan is made.

    Raises:
        GuardError: the profile is read-only, or it is over the cap.
    """
    refuse_read_only(session, act.verb)
    _refuse_over_cap(session, act, approval)


def can_ask(session: Session) -> bool:
    """Whether a person can be asked: stdin and stderr are a terminal, and neither options nor the form forbid it."""
    for_people = session.shared.output in {OutputFormat.TABLE, OutputFormat.NONE}
    return for_people and not session.shared.no_input and is_terminal(sys.stdin) and is_terminal(sys.stderr)


def max_affected(session: Session, approval: Approval) -> int:
    """How many rows one command may change: as typed, else as the profile says, else 1,000."""
    return approval.max_affected or session.guard.cap(DEFAULT_MAX_AFFECTED).most


def refuse_read_only(session: Session, verb: str) -> None:
    """Stop where nothing may ever be changed: first in :func:`permit` and :func:`approve`, here for a costly plan.

    Raises:
        GuardError: the profile is read-only.
    """
    owner = session.guard.read_only
    if owner is not None:
        message = f"{_profile(session, owner)} is read-only: {verb} would change something"
        raise GuardError(message, hint="look with -n where the command has it, or use another profile")


def _refuse_over_cap(session: Session, act: Act, approval: Approval) -> None:
    most = max_affected(session, approval)
    if act.affected > most:
        owner = session.guard.cap(DEFAULT_MAX_AFFECTED).owner
        where = f" in {_profile(session, owner)}" if approval.max_affected is None and owner else ""
        message = f"{act.text} is more than the {most:,} that one command may change{where.rstrip(',')}"
        raise GuardError(message, hint=f"select fewer, or add --max-affected {act.affected}")


def _missing(session: Session, approval: Approval, *, yes: bool) -> list[str]:
    """The options without which it does not go on, as they are typed."""
    missing = [] if yes else ["--yes"]
    if session.guard.protected is not None:
        if not (approval.reason or "").strip():
            missing.append("--reason TEXT")
        if approval.confirm is None and not can_ask(session):
            missing.append(f"--confirm {shlex.quote(session.guard.protected)}")
    return missing


def _require(what: str, missing: list[str]) -> None:
    if missing:
        message = f"not confirmed: {what}"
        raise GuardError(message, hint=f"nothing was changed; look with -n, then add {' '.join(missing)}")


def _refuse_other_name(session: Session, approval: Approval) -> None:
    """A name that is given is compared, also where none is asked for."""
    names = [each.name for each in session.guard.profiles]
    if approval.confirm is not None and session.guard.protected is None and approval.confirm not in names:
        message = f"not confirmed: the profile is {session.profile.name or 'none'}, what was given is another name"
        raise GuardError(message, hint=f"nothing was changed; choose it: -p {shlex.quote(approval.confirm)}")


def _check_name(session: Session, approval: Approval) -> None:
    name = session.guard.protected or ""
    given = approval.confirm
    if given is None:
        whose = _profile(session, name)
        given = _ask(session, f"{whose[:1].upper()}{whose[1:]} is protected. Type its name to go on:")
    if given != name:
        message = f"not confirmed: the profile is {name}, what was given is another name"
        raise GuardError(message, hint=f"nothing was changed; type {name}, or give --confirm {shlex.quote(name)}")


def _profile(session: Session, name: str) -> str:
    """A profile in words, and why its guard counts where it is not the one that was named."""
    return f"profile {name}" if name == session.profile.name else f"profile {name}, whose database this is,"


def _ask(session: Session, question: str) -> str:
    """One line from the terminal. The question goes to stderr: stdout is for the result."""
    writer.ask(session.shared.color, question)
    answer = sys.stdin.readline()
    if not answer:
        message = "not confirmed: the input ended before an answer"
        raise GuardError(message, hint="nothing was changed; answer, or give --yes")
    return answer.strip()


def _log(session: Session, verb: str, approval: Approval, affected: int | None) -> None:
    log_event("approved", act=verb, affected=affected, profile=session.profile.name, reason=approval.reason)
