"""Limit how late a transaction with an event can commit, so that publishers still send the event in order.

Publishers read the outbox in the order of ``"createdAt"``. An event becomes visible a short time after its
``"createdAt"``, when its transaction commits. By then a publisher may have read later events. Therefore a writer must
commit within a time window, or roll back. When a publisher has read all events, it reads the whole window again. This
module defines the limits of this window.

::

    createdAt       event written      idle ends     committed
       |--- WRITE_WITHIN ---|--- IDLE_WITHIN ---|--- COMMIT_WITHIN ---|
       |------------------------ LATE_COMMITS ------------------------|

A writer must follow three rules. It reads the clock for ``"createdAt"`` while it holds the lock on the payment's row.
It writes the event in the last statement of its transaction, and this statement fails after ``WRITE_WITHIN``. It sets
``IDLE_WITHIN`` as the transaction's idle limit, so the server ends the transaction if the writer hangs before it
commits.
"""

from __future__ import annotations

from datetime import timedelta

WRITE_WITHIN = timedelta(seconds=1)
"""The time limit from an event's ``"createdAt"`` to its INSERT, in database time."""

IDLE_WITHIN = timedelta(seconds=1.5)
"""The maximum time that a writer's transaction may be idle before it commits."""

COMMIT_WITHIN = timedelta(seconds=0.5)
"""The longest time that a commit should take.

payctl cannot enforce this limit, because a slow disk can delay a commit.
"""

LATE_COMMITS = WRITE_WITHIN + IDLE_WITHIN + COMMIT_WITHIN
"""The time limit from an event's ``"createdAt"`` to its commit.

Publishers read a window of this length again.
"""
