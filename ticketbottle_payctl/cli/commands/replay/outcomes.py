"""Say how a run ended, what has happened to its events, and which commands come next.

A replay, `runs resume` and `runs show` use the same words.
"""

from __future__ import annotations

from collections.abc import Iterator

from ticketbottle_payctl.cli.safety.advised import Adviser
from ticketbottle_payctl.domain.causes import Activity, Publishing
from ticketbottle_payctl.jobs.replay import ReplayOutcome
from ticketbottle_payctl.store.outbox.replay import Progress

WHY_STOPPED = {
    ReplayOutcome.CANARY_EMPTY: "no canary event could be requeued, so the canary tested nothing",
    ReplayOutcome.CANARY_FAILED: "a canary event is dead again",
    ReplayOutcome.CANARY_TIMEOUT: "the canary was not published in time",
    ReplayOutcome.TOO_MANY_ERRORS: "too many failures",
    ReplayOutcome.SIGNAL: "the replay received a signal",
    ReplayOutcome.CANCELLED: "an operator cancelled the run",
}


def progress_words(progress: Progress) -> str:
    """Return how many of a run's requeued events are published, pending and dead again."""
    return f"{progress.published:,} published, {progress.pending:,} pending, {progress.dead:,} dead again"


def publisher_words(outcome: ReplayOutcome, progress: Progress, publishing: Publishing | None) -> str | None:
    """Return whether a publisher is running if the canary timed out and is still pending, otherwise None."""
    waits = outcome is ReplayOutcome.CANARY_TIMEOUT and progress.pending
    return publishing.words if waits and publishing is not None else None


def next_commands(  # noqa: PLR0913 - everything on which the next step depends
    outcome: ReplayOutcome,
    run_id: str,
    adviser: Adviser,
    *,
    remaining: int,
    progress: Progress | None,
    publishing: Publishing | None,
) -> Iterator[tuple[str, str]]:
    """Yield a label and a command for each step after a run. If the run ended early, the last step continues it.

    ``progress`` contains the states of the run's events. ``publishing`` says whether a publisher is running. If the
    states or the publisher are unknown, the argument is None.
    """
    match outcome:
        case ReplayOutcome.CANARY_TIMEOUT:
            first = [*_after_timeout(adviser, progress, publishing)]
            yield from first
            yield "then" if first else "next", _resume(adviser, run_id)
        case ReplayOutcome.CANARY_FAILED | ReplayOutcome.TOO_MANY_ERRORS:
            yield "next", _errors(adviser)
            if remaining:
                yield "then", _resume(adviser, run_id)
        case ReplayOutcome.CANARY_EMPTY:
            yield "next", "make a new plan with the same selectors"
        case ReplayOutcome.SIGNAL:
            yield "next", _resume(adviser, run_id)
        case ReplayOutcome.DONE | ReplayOutcome.CANCELLED:
            if progress is not None and progress.dead:
                yield "next", _errors(adviser)
            elif progress is not None and progress.pending:
                yield from adviser.publishing().rows("next" if remaining else "if no publisher runs")


def _resume(adviser: Adviser, run_id: str) -> str:
    return adviser.changing(["runs", "resume"], [run_id])


def _errors(adviser: Adviser) -> str:
    return adviser.reading(["errors"], options=["--failed"])


def _after_timeout(
    adviser: Adviser, progress: Progress | None, publishing: Publishing | None
) -> Iterator[tuple[str, str]]:
    """Yield the step after the canary timed out, unless the canary has been published since."""
    if progress is not None and progress.dead:
        yield "next", _errors(adviser)
    elif progress is None or progress.pending:
        if _is_gone(publishing):
            yield from adviser.publishing().rows("next")
        else:
            yield "next", adviser.reading(["doctor"])


def _is_gone(publishing: Publishing | None) -> bool:
    """Return whether no publisher is running. Return False if the last one could not reach its brokers."""
    if publishing is None or publishing.activity is Activity.WITHOUT_BROKERS:
        return False
    return publishing.running is False
