"""Advise what to do if no publisher is running, or if a publisher cannot reach its brokers.

The advice is based on what this machine can see.
"""

from __future__ import annotations

from ticketbottle_payctl.domain.causes.cause import Command
from ticketbottle_payctl.domain.causes.evidence import Brokers, SeenPublisher
from ticketbottle_payctl.domain.causes.words import (
    CHECK_BROKERS,
    LOOK_AT_KAFKA,
    LOOK_AT_KAFKA_AND_BACKLOG,
    PUBLISH,
    START_AND_PUBLISH,
    WAIT_OR_PUBLISH,
    start_or_publish,
)


def if_missing(brokers: Brokers | None) -> tuple[str, Command | None]:
    """Return the advice and the command if no publisher is running. ``brokers`` is None if they were not checked."""
    if brokers is None or brokers.not_asked:
        return start_or_publish(), PUBLISH
    if brokers.unavailable:
        return "start the publisher again after the brokers are available", None
    return START_AND_PUBLISH, PUBLISH


def if_cut_off(away: SeenPublisher, brokers: Brokers | None) -> tuple[str, Command | None]:
    """Return the advice and the command if a publisher could not reach its brokers.

    The brokers may answer this machine. ``brokers`` is None if they were not checked.
    """
    if brokers is None or brokers.not_asked:
        return CHECK_BROKERS, LOOK_AT_KAFKA_AND_BACKLOG
    if brokers.unavailable:
        return CHECK_BROKERS, LOOK_AT_KAFKA
    if away.ended:
        return f"the brokers answer now; {WAIT_OR_PUBLISH}", PUBLISH
    compare = "read its log, and compare its KAFKA_ variables and its network with those of this machine"
    return f"this machine reaches the brokers; if {away.name} keeps failing, {compare}", None
