"""Describe the dead and waiting events after a run without brokers, and suggest the next commands."""

from __future__ import annotations

from ticketbottle_payctl.cli.commands.publish_outbox.obstacle_words import Reading
from ticketbottle_payctl.formats import count
from ticketbottle_payctl.jobs.publish_outbox import PublishReport


def without_brokers(report: PublishReport, reading: Reading) -> list[str]:
    """Return the lines below the error: how many events died and how many wait, and what to run next.

    The error replaces the run's usual text, so these lines are the only ones that mention dead events. A failed event
    may have used up a retry, so the first line mentions retries only if no event failed.
    """
    died, waiting = report.counts.dead, _waiting(report)
    if not died:
        return [f"  nothing is lost: {waiting}", f"  next:  {reading(['doctor'])}"]
    return [
        f"  {count(died, 'event')} died; {waiting}",
        f"  next:  {reading(['doctor'])}",
        f"  then:  {reading(['errors'])}",
    ]


def _waiting(report: PublishReport) -> str:
    pending, counts = report.obstacles.pending, report.counts
    if pending is None:
        return f"all {'other ' if counts.dead else ''}events that were not published stay pending"
    if not pending:
        return "no event is waiting"
    waits = f"{count(pending, 'event')} {'waits' if pending == 1 else 'wait'}"
    return waits if counts.dead or counts.retried else f"{waits}, and no retry was used up"
