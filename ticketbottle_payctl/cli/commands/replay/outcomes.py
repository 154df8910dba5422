"""Say how a run ended, and which commands come next. A replay, `runs resume` and `runs show` use the same words."""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.domain.causes import Activity, Publishing
from ticketbottle_payctl.jobs.replay import ReplayOutcome

WHY_STOPPED = {
    ReplayOutcome.CANARY_EMPTY: "no canary event could be requeued, so the canary tested nothing",
    ReplayOutcome.CANARY_FAILED: "a canary event is dead again",
    ReplayOutcome.CANARY_TIMEOUT: "the canary was not published in time",
    ReplayOutcome.TOO_MANY_ERRORS: "too many failures",
    ReplayOutcome.SIGNAL: "the replay received a signal",
    ReplayOutcome.CANCELLED: "an operator cancelled the run",
}


def next_commands(
    outcome: ReplayOutcome, run_id: str, adviser: Adviser, *, remaining: int, publishing: Publishing | None = None
) -> Iterator[tuple[str, str]]:
    """Yield a label and a command for each step after a run that ended early. The last step continues the run.

    ``publishing`` says whether a publisher was running when the wait for the canary ended.
    """
    resume = adviser.changing(["runs", "resume"], [run_id])
    match outcome:
        case ReplayOutcome.CANARY_TIMEOUT:
            cut_off = publishing is not None and publishing.activity is Activity.WITHOUT_BROKERS
            gone = publishing is not None and publishing.running is False and not cut_off
            yield "next", adviser.changing(["publish-outbox"]) if gone else adviser.reading(["doctor"])
            yield "then", resume
        case ReplayOutcome.CANARY_FAILED | ReplayOutcome.TOO_MANY_ERRORS:
            yield "next", adviser.reading(["errors"], options=["--failed"])
            if remaining:
                yield "then", resume
        case ReplayOutcome.CANARY_EMPTY:
            yield "next", "make a new plan with the same selectors"
        case ReplayOutcome.SIGNAL:
            yield "next", resume
        case ReplayOutcome.DONE | ReplayOutcome.CANCELLED:
            return
