"""Make events pending again.

The package plans a replay, applies the plan in small transactions, and resumes or cancels a run.

The plan lists the events to requeue, and the selected events that are left out. payctl stores the plan before applying
it.
"""

from __future__ import annotations

from ticketbottle_payctl.jobs.replay.apply import cancel_run, replay, resume_run
from ticketbottle_payctl.jobs.replay.finished import report_finished
from ticketbottle_payctl.jobs.replay.plan import (
    changes_nothing,
    count_replay,
    plan_replay,
    refreshed,
    superseded_in,
)
from ticketbottle_payctl.jobs.replay.report import (
    CanaryWait,
    LeftOut,
    LeftOutReason,
    Misnamed,
    PlannedEvent,
    ReplayOptions,
    ReplayOutcome,
    ReplayPlan,
    ReplayReport,
)
from ticketbottle_payctl.store.outbox.replay import Superseded

__all__ = [
    "CanaryWait",
    "LeftOut",
    "LeftOutReason",
    "Misnamed",
    "PlannedEvent",
    "ReplayOptions",
    "ReplayOutcome",
    "ReplayPlan",
    "ReplayReport",
    "Superseded",
    "cancel_run",
    "changes_nothing",
    "count_replay",
    "plan_replay",
    "refreshed",
    "replay",
    "report_finished",
    "resume_run",
    "superseded_in",
]
