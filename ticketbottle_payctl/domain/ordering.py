"""Limit how late an event may be committed, so that publishers still send it in order.

Publishers read the outbox in the order of ``"createdAt"``. An event is committed a short time after its instant, and a
publisher may have read later events by then. So writers must commit within a time window, or not at all. Each time
publishers have read all events, they read the whole window again. All limits are defined here.

::

    instant       event written      idle ends     committed
       |--- WRITE_WITHIN ---|--- IDLE_WITHIN ---|--- COMMIT_WITHIN ---|
       |------------------------ LATE_COMMITS ------------------------|

A writer must do three things. It reads the instant while it holds the lock on the payment's row. It writes the event in
the last statement of its transaction, which fails after ``WRITE_WITHIN``. It sets ``IDLE_WITHIN`` as the transaction's
idle limit, so the server ends the transaction of a writer that hangs before its commit.
"""

from __future__ import annotations

from datetime import timedelta

WRITE_WITHIN = timedelta(seconds=1)
"""The time limit from an event's instant to its INSERT, by the database's clock."""

IDLE_WITHIN = timedelta(seconds=1.5)
"""How long a writer's transaction may be idle before its commit."""

COMMIT_WITHIN = timedelta(seconds=0.5)
"""How long a commit may take. Nothing enforces this limit: a slow disk can delay a commit for longer."""

LATE_COMMITS = WRITE_WITHIN + IDLE_WITHIN + COMMIT_WITHIN
"""The time limit from an event's instant to its commit. Publishers look back this far."""
