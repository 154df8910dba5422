"""How late an event may be committed and still be published in its place: the limits of writers and publishers.

Publishers read the outbox in the order of ``"createdAt"``. An event is committed a little after its instant, and by
then a publisher may have read past it. So there is one window. Writers commit within it or not at all, and publishers
read its length again each time they have caught up. These are all the numbers; no other file has one of its own.

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
"""How long a commit may take. Nothing enforces this one: a disk may hold a commit up for longer."""

LATE_COMMITS = WRITE_WITHIN + IDLE_WITHIN + COMMIT_WITHIN
"""How long after its instant an event may be committed, and how far publishers look back."""
