"""What a shard's next claim should ask for, and what the database says about payments that must wait.

A sweep begins again at the oldest event. What the publisher remembers between two sweeps only saves looking.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from ticketbottle_payctl.domain.cursor import Cursor
from ticketbottle_payctl.domain.event import OutboxEvent
from ticketbottle_payctl.domain.retry import backoff
from ticketbottle_payctl.jobs.publish_outbox.report import OnDead, PublishOptions
from ticketbottle_payctl.store.db.engine import translated_errors
from ticketbottle_payctl.store.outbox import cdc
from ticketbottle_payctl.store.outbox import claim as outbox
from ticketbottle_payctl.store.outbox.claim import Claim, Failed
from ticketbottle_payctl.telemetry import log_event

SWEEP_EVERY = 30.0
"""How often a shard is begun again at its oldest event, in seconds: what committed late is never lost."""

_MOST_FAILED = 1_000_000
_LOCKED_ROW_PAUSE = 2.0
_BATCHES_PER_SECOND = 4


def sweep(connection: Connection, cursor: Cursor, options: PublishOptions, shard: int, at: float) -> datetime:
    """Forget, and read again which payments wait: behind a dead event, a retry not due, a type left out.

    ``at`` is this instant in monotonic seconds; the database's is returned. A retry is due its backoff after the
    event was created; a run that saw the failure counts from there.

    Raises:
        GuardError: Debezium publishes this outbox.
    """
    with translated_errors():
        cdc.refuse_while_debezium_publishes(connection)
        now = outbox.now(connection)
        cursor.restart(now)
        for row in _failed(connection, options, shard):
            wait = (row.position[0] + backoff(row.retry_count) - now).total_seconds()
            if row.retry_count < options.max_retries:
                if wait > 0:
                    cursor.block(row.aggregate_id, row.position, at + wait)
            elif options.on_dead is OnDead.BLOCK:
                cursor.block(row.aggregate_id, row.position, None)
        if options.types:
            # Only what is there now: an event written later could be behind one of a type left out.
            cursor.until = now
            for row in outbox.waiting_of_other_types(connection, options.types, options.max_retries):
                cursor.block(row.aggregate_id, row.position, None)
    return now


def _failed(connection: Connection, options: PublishOptions, shard: int) -> list[Failed]:
    """Who failed before, and a word in the log where there are too many to remember: those hold nothing back."""
    failed = outbox.failed(connection, shard=shard, shards=options.shards, limit=_MOST_FAILED)
    if len(failed) == _MOST_FAILED:
        log_event(
            "publish_outbox_too_many_failed", level="error", shard=shard, shards=options.shards, known=len(failed)
        )
    return failed


def next_claim(cursor: Cursor, options: PublishOptions, shard: int) -> Claim:
    """What to claim after what was claimed last. With a rate, a quarter of a second's worth."""
    limit = options.batch_size
    if options.rate is not None:
        limit = max(1, min(limit, int(options.rate / _BATCHES_PER_SECOND)))
    return Claim(
        after=cursor.position,
        limit=limit,
        max_retries=options.max_retries,
        held=cursor.held,
        types=options.types,
        until=cursor.until,
        shard=shard,
        shards=options.shards,
    )


def block_locked(connection: Connection, cursor: Cursor, wanted: Claim, last: OutboxEvent, at: float) -> None:
    """Let the payments of rows that another session holds wait, so that nothing overtakes them."""
    with translated_errors():
        left = outbox.locked_by_others(connection, wanted, last.position)
    for key, position in left:
        cursor.block(key, position, at + _LOCKED_ROW_PAUSE)
