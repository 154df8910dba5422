"""Test how long a publisher loop keeps skipping locked rows instead of waiting for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import event

from tests.jobs.publish_outbox.conftest import GOOD, Clockwork
from ticketbottle_payctl.jobs.publish_outbox.pipeline import LIMITS


def test_a_loop_waits_for_a_locked_row_again_after_ten_seconds(outbox, monkeypatch):
    """After a loop has waited for a locked row until the lock timeout, it skips locked rows for ten seconds."""
    limits = replace(LIMITS, lock=timedelta(milliseconds=50))
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.pipeline.LIMITS", limits)
    waited = []
    clockwork = Clockwork(waits=8)
    event.listen(outbox.engine, "handle_error", lambda _: waited.append(round(clockwork.now - 1000, 1)))
    with outbox.engine.connect() as other:

        def lock_another(now):
            id_ = outbox.add(f"k{now}")
            other.exec_driver_sql("SELECT FROM outbox WHERE id = %s FOR UPDATE", (id_,))
            clockwork.now = 1000 + now

        lock_another(0)
        clockwork.at = {5: lambda: lock_another(9.9), 6: lambda: lock_another(10.5)}
        report = outbox.run(clockwork, loop=True)
    assert waited == [0.0, 10.5]
    assert (report.counts.published, outbox.verdict()) == (0, GOOD)
