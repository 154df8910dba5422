"""Define types for a recorded run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from ticketbottle_payctl.facts import Count, Keywords
from ticketbottle_payctl.store.payctl.runs import RunAction, RunStatus


class Person(TypedDict):
    """The operator, and the reason that the operator gave."""

    os_user: str
    host: str
    actor: str | None
    """The person's name, from PAYCTL_ACTOR."""
    db_role: str
    reason: str | None


class ActFacts(Person):
    """An operator's action on a run that had already started."""

    deed: Annotated[str, Keywords(enum=[*RunAction])]
    at: datetime
    """When the operator acted (UTC)."""


class RunFacts(Person):
    """One recorded run."""

    id: str
    command: str
    status: Annotated[str, Keywords(enum=[*RunStatus])]
    profile: str | None
    selector: Mapping[str, object]
    """The selector that the run used."""
    options: Mapping[str, object]
    counts: Mapping[str, Count]
    started_at: datetime
    """When the run started (UTC)."""
    finished_at: datetime | None
    """When the run ended (UTC); null while it runs or can be resumed."""
    ended_by: NotRequired[str | None]
    """The code of the error that ended the run, or why the run ended before its work was done; null otherwise."""
    acts: NotRequired[Sequence[ActFacts]]
    """Each time that an operator resumed or cancelled the run, oldest first."""


class RequeuedFacts(TypedDict):
    """The current states of the events that a replay requeued."""

    published: Count
    """Events that have been published since. An event that was deleted since also counts as published."""
    pending: Count
    dead_again: Count


class ShownRunFacts(RunFacts):
    """One recorded run, and what has happened to its events since."""

    since_then: NotRequired[RequeuedFacts | None]
    """The events that a replay requeued; null for other commands, or if the outbox could not be read."""
    publisher_running: NotRequired[bool | None]
    """Whether a publisher is running now; null for other commands, or if this is unknown."""


class RunItemFacts(TypedDict):
    """One row of a run."""

    id: str
    outcome: str
    reason: str | None
    before: Mapping[str, object] | None
    """The row's fields before the change."""
    after: Mapping[str, object] | None
    """The row's fields after the change; null if the row was not changed."""
    at: datetime
    """When the outcome was recorded (UTC)."""


class RemainingCounts(TypedDict):
    """The number of rows that a run has not reached."""

    remaining: Count
    """The number of rows that the run has not reached."""


RunCounts = Annotated[RemainingCounts, Keywords(additionalProperties={"type": "integer", "minimum": 0})]
"""The number of remaining rows, and the counts that the command records, such as requeued, settled and skipped."""


class CancelFacts(TypedDict):
    """The state of the run after the cancellation."""

    status: str
