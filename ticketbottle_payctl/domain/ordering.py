"""Limit how late an event may be committed, so that publishers still send it in order.

Publishers read the outbox in the order of ``"createdAt"``. An event is committed a little after its instant, and by
then a publisher may have read past it. So there is one time window. Writers commit within it or not at all. Publishers
read back over the whole window each time they have caught up. All limits are defined here.

::

    instant       event written      idle ends     committed
       |--- WRITE_WITHIN ---|--- IDLE_WITHIN ---|--- COMMIT_WITHIN ---|
       |------------------------ LATE_COMMITS ------------------------|

A writer has to do three things. It reads the instant while it holds the payment's row. It makes the event's write the
last statement of its transaction, which refuses to be later than ``WRITE_WITHIN``. It gives the transaction
``IDLE_WITHIN`` as its idle limit, so the server ends a writer that hangs before its commit.
"""

from __future__ import annotations

from datetime import timedelta

WRITE_WITHIN = timedelta(seconds=1)
"""How long after its instant an event may be written, by the database's clock."""

IDLE_WITHIN = timedelta(seconds=1.5)
"""How long a writer's transaction may idle before its commit."""

COMMIT_WITHIN = timedelta(seconds=0.5)
"""How long a commit may take. Nothing enforces this one: a slow disk may delay a commit for longer."""

LATE_COMMITS = WRITE_WITHIN + IDLE_WITHIN + COMMIT_WITHIN
"""How long after its instant an event may be committed, and how far publishers look back."""
