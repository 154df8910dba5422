"""Describe a run of a command for its record in ``payctl.runs``.

payctl records every run that changes payments or events. The exceptions are two commands that run all the time:
``publish-outbox`` without ``--on-dead release``, and ``cdc mark``. Development commands are not recorded either,
because they are refused in production. Records never contain secrets or text from callbacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.profile.actor import who_runs
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.store.payctl.runs import NewRun

if TYPE_CHECKING:
    from ticketbottle_payctl.store.payctl.run_lifecycle import Unrecorded


def new_run(
    session: Session,
    command: str,
    reason: str | None,
    *,
    selector: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> NewRun:
    """Return the description of a run that the current operator starts now with this command."""
    return NewRun(
        id=str(uuid4()),
        command=command,
        who=who_runs(session.services.environ),
        reason=reason,
        profile=session.profile.name,
        selector=selector or {},
        options=options or {},
    )


def unrecorded_warnings(unrecorded: Unrecorded | None, reason: str | None) -> list[str]:
    """Return a list with a sentence that says what was not recorded about a run.

    Return an empty list if the record is complete.

    Every command whose record is optional shows this warning. The work is done, so the exit code stays the same.
    """
    if unrecorded is None:
        return []
    run_id, error = unrecorded
    what = "the run and its reason were not recorded" if reason else "the run was not recorded"
    if run_id is not None:
        what = f"the end of run {run_id} was not recorded, so `payctl runs` shows it as interrupted"
    where = "; see docs/how-to/database-roles.md" if isinstance(error, ConfigError) else ""
    return [f"{what}: {error.message}{where}"]
