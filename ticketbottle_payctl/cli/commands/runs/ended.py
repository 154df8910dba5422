"""Say what ended a recorded run, in the words of the run's command."""

from __future__ import annotations

from collections.abc import Mapping

from ticketbottle_payctl.cli.commands.replay.outcomes import WHY_STOPPED
from ticketbottle_payctl.jobs.publish_outbox import StoppedBecause
from ticketbottle_payctl.store.payctl.runs import Run

_WORDS: Mapping[str, Mapping[str, str]] = {
    "replay": {outcome.value: words for outcome, words in WHY_STOPPED.items()},
    "publish-outbox": {
        StoppedBecause.DEADLINE.value: "the time limit was reached",
        StoppedBecause.MAX_BATCHES.value: "the limit of --max-batches was reached",
        StoppedBecause.SIGNAL.value: "the publisher received a signal",
        StoppedBecause.LOCKED.value: "another process holds the outbox",
    },
}


def ended_row(run: Run) -> tuple[str, str | None]:
    """Return the label and the words for what ended the run.

    If the command has no words for it, return the stored value, which is usually the code of an error.
    """
    words = _WORDS.get(run.command, {}).get(run.ended_by or "")
    return ("stopped because", words) if words else ("ended by", run.ended_by)
