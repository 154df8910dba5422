"""The facts of a recorded run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.store.payctl.runs import RunAction, RunStatus


class Person(TypedDict):
    """The operator, and why."""

    os_user: str
    host: str
    actor: str | None
    """PAYCTL_ACTOR."""
    db_role: str
    reason: str | None


class ActFacts(Person):
    """What an operator did to a run after it began."""

    deed: Annotated[str, Keywords(enum=[*RunAction])]
    at: datetime
    """UTC."""


class RunFacts(Person):
    """One recorded run."""

    id: str
    command: str
    status: Annotated[str, Keywords(enum=[*RunStatus])]
    profile: str | None
    selector: Mapping[str, object]
    """What was selected."""
    options: Mapping[str, object]
    counts: Mapping[str, Count]
    started_at: datetime
    """UTC."""
    finished_at: datetime | None
    """UTC; null while it runs or waits to be resumed."""
    acts: NotRequired[Sequence[ActFacts]]
    """Who resumed or cancelled it, in order."""


class RunItemFacts(TypedDict):
    """One row of a run."""

    id: str
    outcome: str
    reason: str | None
    before: Mapping[str, object] | None
    """The row as it was."""
    after: Mapping[str, object] | None
    """The row as it became; null if it was left alone."""
    at: datetime
    """UTC."""


class RemainingCounts(TypedDict):
    """What is left of a run."""

    remaining: Count
    """Rows not reached."""


RunCounts = Annotated[RemainingCounts, Keywords(additionalProperties={"type": "integer", "minimum": 0})]
"""What is left, and what the run counted, in its command's own words (requeued, settled, repaired, skipped, ...)."""


class CancelFacts(TypedDict):
    """How the run stands now."""

    status: str
