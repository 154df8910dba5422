"""A connection that claims batches. A publisher has two, so that both can claim while a batch is sent.

Whoever holds a lane's open transaction owns the events claimed in it; closing the lane gives them back.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine

from ticketbottle_payctl.domain.cursor import Position
from ticketbottle_payctl.errors import DatabaseUnavailableError
from ticketbottle_payctl.store.db import pool
from ticketbottle_payctl.store.db.engine import Limits, open_connection, translated_errors
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.claim import Claim, Claimed, PutBack
from ticketbottle_payctl.store.outbox.shard_lock import Entry

LIMITS = Limits(
    statement=timedelta(seconds=30), lock=timedelta(seconds=2), idle=timedelta(seconds=60), index_only_plan=True
)
"""The idle limit outlives one batch's sending; a publisher that hangs longer loses its claim, not its events."""


class Lane:
    """One of the two connections, with at most one transaction open."""

    def __init__(self, engine: Engine, number: int, shard: int, shards: int) -> None:
        self._engine, self._number, self._shard, self._shards = engine, number, shard, shards
        self._stack = ExitStack()
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """The lane's connection, opened when first needed."""
        if self._connection is None:
            self._connection = self._stack.enter_context(open_connection(self._engine, LIMITS))
        return self._connection

    def enter(self, owner: str) -> Entry:
        """Try to become the shard's publisher; refused, nothing is held."""
        with translated_errors():
            entry = shard_lock.enter(self.connection, self._shard, self._shards, self._number, owner)
            if entry is Entry.REFUSED:
                self.connection.rollback()
            return entry

    def keep(self, wanted: Claim) -> Position | None:
        """Hold the shard in a new transaction too, and say where the next full claim will end."""
        keeping = shard_lock.keeping(self._shard, self._shards, self._number)
        with translated_errors():
            return outbox.end_of_next(self.connection, wanted, keeping)

    def claim(self, wanted: Claim, *, skip_locked: bool = False) -> Claimed:
        """Claim in the transaction that :meth:`enter` or :meth:`keep` opened."""
        with translated_errors():
            return outbox.claim(self.connection, wanted, skip_locked=skip_locked)

    def lost(self) -> bool:
        """Whether the server ended the session, and the claim with it. Asks nobody; only between two statements."""
        return pool.is_closed_by_server(self.connection.connection.dbapi_connection)

    def commit(self, put_back: list[PutBack]) -> None:
        """What was published stays marked, the rest is put back; nothing counts before this returns."""
        with translated_errors():
            if put_back:
                outbox.put_back(self.connection, put_back)
            self.connection.commit()

    def rollback(self) -> None:
        """Give the whole batch back."""
        with translated_errors():
            self.connection.rollback()

    def close(self) -> None:
        """Give back what is open and let the connection go."""
        self._connection = None
        with suppress(DatabaseUnavailableError), translated_errors():  # what is away has nothing of ours open
            self._stack.close()
