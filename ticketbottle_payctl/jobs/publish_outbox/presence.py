"""Record whether a publisher can reach its brokers and whether it has ended, so that other commands can say so."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Engine

from ticketbottle_payctl.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    DatabaseUnavailableError,
    PayctlError,
)
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS
from ticketbottle_payctl.store.db.engine import transaction
from ticketbottle_payctl.store.outbox import shard_lock, without_brokers

NO_BROKERS = (BrokerUnavailableError, BrokerRefusedError)
"""The errors of a publisher that cannot reach its brokers, or is refused by them."""


class Presence:
    """The record of one publisher. If a record cannot be written, the publisher continues without it."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine, self._owner = engine, owner
        self._cut_off: PayctlError | None = None

    def cannot_reach(self, error: PayctlError) -> None:
        """Record that the publisher cannot reach its brokers. Do nothing if ``error`` has a different cause."""
        if isinstance(error, NO_BROKERS):
            self._cut_off = error
            with suppress(PayctlError), transaction(self._engine, LIMITS) as connection:
                without_brokers.note(connection, self._owner, error.message, ended=False)

    def reached(self) -> None:
        """Record that the publisher can reach its brokers again. If it always could, write nothing."""
        if self._cut_off is not None:
            self._cut_off = None
            with suppress(PayctlError), transaction(self._engine, LIMITS) as connection:
                without_brokers.clear(connection, self._owner)

    def end(self, failure: PayctlError | None) -> None:
        """Record that this publisher has ended, and whether it could reach its brokers.

        If the end cannot be recorded, other commands show the publisher as running for another 90 seconds. Two
        transactions write the two records, so that the first does not depend on the second.
        """
        if isinstance(failure, DatabaseUnavailableError):
            return
        cut_off = failure if isinstance(failure, NO_BROKERS) else self._cut_off
        with suppress(PayctlError), transaction(self._engine, LIMITS) as connection:
            shard_lock.sign_off(connection, self._owner)
        if cut_off is not None:
            with suppress(PayctlError), transaction(self._engine, LIMITS) as connection:
                without_brokers.note(connection, self._owner, cut_off.message, ended=True)
