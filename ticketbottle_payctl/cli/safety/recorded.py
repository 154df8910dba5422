"""Describe a run of a command for its record in ``payctl.runs``.

payctl records every run that changes payments or events, except two commands that deployments run all the time:
``publish-outbox`` without ``--on-dead release``, and ``cdc mark``. Development commands are not recorded either,
because they are refused in production. A record contains no secret and no text from a callback.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from ticketbottle_payctl.cli.app.session import Session
from ticketbottle_payctl.cli.profile.actor import who_runs
from ticketbottle_payctl.store.payctl.runs import NewRun


def new_run(
    session: Session,
    command: str,
    reason: str | None,
    *,
    selector: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> NewRun:
    """Return a run of this command that the present operator starts now."""
    return NewRun(
        id=str(uuid4()),
        command=command,
        who=who_runs(session.services.environ),
        reason=reason,
        profile=session.profile.name,
        selector=selector or {},
        options=options or {},
    )
