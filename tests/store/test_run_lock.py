"""Test the search for runs in progress."""

from __future__ import annotations

import pytest

from ticketbottle_payctl.store.payctl.run_lock import AT_WORK, at_work

pytestmark = pytest.mark.postgres
RUNS = [f"{digit * 8}-0000-4000-8000-000000000000" for digit in "17f"]


@pytest.mark.parametrize("run", RUNS)
def test_only_the_run_whose_lock_is_held_is_in_progress(engine, run):
    """A run is in progress while a process holds its lock. The lock of another run does not count."""
    with engine.connect() as connection, at_work(engine, run):
        rows = connection.exec_driver_sql(f"SELECT id, {AT_WORK} FROM unnest(%s) AS r (id)", (RUNS,))  # noqa: S608
        assert dict(rows.all()) == {each: each == run for each in RUNS}
