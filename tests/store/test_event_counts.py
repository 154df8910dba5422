"""Test the statistics' counts at the limits of a window, of a minute and of the newest events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.commands.show.conftest import Orders
from ticketbottle_payctl.store.outbox import stats
from ticketbottle_payctl.store.outbox.stats import Recent

pytestmark = pytest.mark.postgres
NOON = datetime(2026, 11, 29, 12)  # noqa: DTZ001 - the owner's columns have no zone
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
SLOWER_AND_SLOWER = """
    UPDATE outbox AS o SET "publishedAt" = o."createdAt" + (r.n - 1) * interval '1 millisecond'
    FROM (SELECT id, row_number() OVER (ORDER BY "createdAt") AS n FROM outbox) AS r WHERE r.id = o.id
"""


@pytest.fixture
def at(engine):
    """Return a function that inserts an event for each given time."""
    sql = """
        INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload, "createdAt", published,
            "retryCount")
        VALUES (gen_random_uuid(), gen_random_uuid(), 'payment', 'PAYMENT_COMPLETED', '{}', %s, %s, %s)
    """

    def run(*instants, published=False, retries=0):
        with engine.begin() as connection:
            for instant in instants:
                connection.exec_driver_sql(sql, (instant, published, retries))

    return run


@pytest.fixture
def newest(monkeypatch):
    """Return the maximum number of published events that are read, which is smaller in these tests."""
    monkeypatch.setattr(stats, "NEWEST", 100)
    return 100


def test_the_oldest_of_the_newest_events_counts(engine, insert, execute, newest):
    """If only the newest events are read, the counts, parts and lags include the oldest of them."""
    insert(newest, state="published", age=12 * SECOND)
    execute(SLOWER_AND_SLOWER)
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    sql = 'SELECT unnest(ARRAY[min("createdAt"), max("createdAt"), max("publishedAt")]) FROM outbox'
    first, newest_made, last = execute(sql)
    assert (found.created_since, found.sent_since) == (first, first)
    assert (found.newest_sent, found.last_sent) == (newest_made, last)
    assert (found.created, found.sent, found.recent_created, found.recent_sent) == (newest,) * 4
    assert (sum(found.created_in.values()), sum(found.sent_in.values())) == (newest, newest)
    assert (found.lag_p50, found.lag_p95, found.lag_p99) == (0.049, 0.094, 0.098)


def test_only_the_newest_events_are_read(engine, insert, newest):
    """If there are too many published events, the oldest ones are not read."""
    insert(1, state="published", age=600 * SECOND)
    insert(newest, state="published", age=12 * SECOND)
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    assert (found.created, found.now - found.created_since < 300 * SECOND) == (newest, True)


def test_the_window_begins_at_its_start_if_all_events_are_read(engine, insert, newest):
    """If every published event is read, the counts cover the whole window."""
    insert(newest - 1, state="published", age=12 * SECOND)
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    assert (found.created_since, found.sent_since) == (found.now - HOUR, found.now - HOUR)


def test_a_lag_is_never_negative(engine, insert, execute):
    """If the clock was set back between the creation and the publication of an event, its lag is zero."""
    insert(1, state="published", age=60 * SECOND)
    execute('UPDATE outbox SET "publishedAt" = "createdAt" - interval \'1 second\'')
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    assert (found.lag_p50, found.lag_p95, found.lag_p99) == (0, 0, 0)


def test_an_event_without_an_instant_of_publication_was_sent_when_it_was_created(engine, insert, execute):
    """If a published event has no ``publishedAt``, it counts as sent at its creation, with a lag of zero."""
    insert(1, state="published", age=30 * SECOND)
    execute('UPDATE outbox SET "publishedAt" = NULL')
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    assert (found.sent, found.recent_sent, found.lag_p50, len(found.sent_in)) == (1, 1, 0, 1)


def test_an_event_of_two_minutes_ago_is_not_of_the_last_minute(engine, insert):
    """An event that was created and sent two minutes ago is in the window, but not in the last minute."""
    insert(1, state="published", age=90 * SECOND)
    with engine.connect() as connection:
        found = stats.recent(connection, 3600)
    assert (found.created, found.sent, found.recent_created, found.recent_sent) == (1, 1, 0, 0)
    assert (found.newest_sent, found.lag_p99) == (None, 1)


def test_lags_need_no_record_of_replays(engine, insert, execute):
    """If the role is not allowed to read the records of runs, the lags include all published events."""
    insert(1, state="published", age=30 * SECOND)
    execute("CREATE ROLE without_runs; GRANT SELECT ON outbox TO without_runs")
    with engine.connect() as connection:
        connection.exec_driver_sql("SET ROLE without_runs")
        found = stats.recent(connection, 3600)
    execute("DROP OWNED BY without_runs; DROP ROLE without_runs")
    assert (found.runs_readable, found.lag_p50) == (False, 1)


@pytest.fixture
def unpublished(engine):
    """Return a function that counts unpublished events at noon, for a window that began at 11:00."""

    def run(late_after_s=300.0):
        seen = Recent(NOON, NOON - HOUR, NOON - HOUR, 0, 0, 0, 0, None, None, None, {}, {})
        with engine.connect() as connection:
            return stats.unpublished(connection, 5, late_after_s=late_after_s, seen=seen)

    return run


def test_a_window_of_unpublished_events_begins_at_its_start(at, unpublished):
    """An event that was created exactly at the start of a window, or of the last minute, counts."""
    early = timedelta(milliseconds=1)
    at(NOON - HOUR, NOON - HOUR - early)
    at(NOON - 60 * SECOND, NOON - 60 * SECOND - early, retries=5)
    found = unpublished()
    assert (found.pending, found.dead, found.created, found.recent_created) == (2, 2, 3, 1)
    assert found.created_in == {"1": 1, "30": 2}


def test_an_event_is_late_if_it_is_older_than_the_limit(at, unpublished):
    """A pending event is late if it is older than the limit, but not if it is exactly as old."""
    at(NOON - 300 * SECOND, NOON - 301 * SECOND)
    at(NOON - 302 * SECOND, retries=5)
    assert unpublished().late == 1
    assert unpublished(late_after_s=302.0).late == 0


def test_the_ages_are_those_of_the_oldest_events(at, unpublished, execute):
    """The age of pending events is the age of the oldest one.

    If events have the same age, the lowest id is returned.
    """
    at(NOON - 420 * SECOND, NOON - 2 * SECOND, NOON - 420 * SECOND, NOON - 420 * SECOND, NOON - 419 * SECOND)
    at(NOON - 540 * SECOND, NOON, NOON - 539 * SECOND, retries=5)
    execute("""UPDATE outbox SET id = '0' WHERE "createdAt" = '2026-11-29 11:59:58'""")
    least = min(execute("""SELECT id FROM outbox WHERE "createdAt" = '2026-11-29 11:53:00'"""))
    found = unpublished()
    assert (found.oldest_pending_age_s, found.oldest_dead_age_s, found.oldest_pending_id) == (420, 540, least)


def test_an_event_of_this_instant_has_the_age_zero(at, unpublished):
    """An event that was created just now, or in the future because a clock runs fast, has the age zero."""
    at(NOON)
    at(NOON + SECOND, retries=5)
    found = unpublished()
    assert (found.oldest_pending_age_s, found.oldest_dead_age_s) == (0, 0)


def test_an_empty_outbox_has_no_unpublished_events(unpublished):
    """For an empty outbox, the counts are zero and the ages are None."""
    assert unpublished() == stats.Unpublished(0, 0, 0, 0, None, None, None, 0, 0, {})


def test_events_that_were_created_later_are_counted(engine, at):
    """Published and unpublished events that were created after a given time are counted, but not at that time."""
    at(NOON, NOON + SECOND, NOON + SECOND, published=True)
    at(NOON, NOON + SECOND, NOON + SECOND, NOON + SECOND)
    with engine.connect() as connection:
        assert stats.created_after(connection, NOON.replace(tzinfo=UTC)) == 5


def test_a_group_of_events_has_the_age_of_its_oldest_event(at, at_noon):
    """A group has the age of its oldest event, or zero if its events are ahead of the clock. Dead events come first."""
    at(NOON - 2 * SECOND, NOON - 7 * SECOND)
    at(NOON + SECOND, retries=5)
    found = stats.groups(at_noon, 5, [stats.By.TYPE])
    assert [(each.dead, each.events, each.age_s) for each in found] == [(True, 1, 0), (False, 2, 7)]


def test_the_fifty_largest_groups_of_each_state_are_returned(engine, at, execute):
    """For each state, the fifty largest groups are returned, largest first.

    If groups have the same size, the older group comes first.
    """
    for retries in (0, 5):
        at(*(NOON - second * SECOND for second in range(53)), retries=retries)
    execute("""
        UPDATE outbox SET "eventType" = CASE extract(second FROM "createdAt")::int
            WHEN 10 THEN '20' ELSE extract(second FROM "createdAt")::int::text END
    """)
    with engine.connect() as connection:
        found = stats.groups(connection, 5, [stats.By.TYPE])
    types = ["20", *(str(second) for second in range(8, 60) if second not in {10, 20})][:50]
    assert [(each.dead, each.event_type) for each in found] == [
        (dead, name) for dead in (True, False) for name in types
    ]
    assert [each.events for each in found] == [2, *[1] * 49] * 2


@pytest.mark.parametrize(("by", "name"), [(stats.By.TYPE, "PAYMENT_COMPLETED"), (stats.By.PROVIDER, None)])
def test_published_events_count_since_the_instant_they_were_sent(engine, at, execute, by, name):
    """An event counts if it was sent at a given time or later.

    If the event has no publishing time, its creation time counts.
    """
    at(NOON - HOUR, NOON - SECOND, NOON, published=True)
    at(NOON)
    execute("""UPDATE outbox SET "publishedAt" = '2026-11-29 12:00:01' WHERE "createdAt" = '2026-11-29 11:00'""")
    with engine.connect() as connection:
        assert stats.sent_by(connection, by, NOON) == {name: 2}


def test_only_the_newest_published_events_count_as_sent(engine, at, execute, newest):
    """If there are too many published events, the events that were created first do not count."""
    at(*(NOON + number * SECOND for number in range(newest + 1)), published=True)
    execute("UPDATE outbox SET \"eventType\" = 'first' WHERE \"createdAt\" = '2026-11-29 12:00'")
    with engine.connect() as connection:
        assert stats.sent_by(connection, stats.By.TYPE, NOON) == {"PAYMENT_COMPLETED": newest}


def test_events_are_grouped_by_the_provider_of_their_payload_or_of_their_payment(engine, at, execute):
    """A group has the provider from the payload. If the payload has no provider, the payment's provider is used."""
    Orders(engine).pay(provider="momo").event()
    Orders(engine).pay(provider="vnpay")
    at(NOON, NOON + SECOND)
    execute("""UPDATE outbox SET payload = '{"provider": "zalopay"}' WHERE "createdAt" = '2026-11-29 12:00'""")
    with engine.connect() as connection:
        found = stats.groups(connection, 5, [stats.By.PROVIDER])
    assert {(each.provider, each.events) for each in found} == {("MOMO", 1), ("ZALOPAY", 1), (None, 1)}


def test_events_are_grouped_by_the_kind_of_their_error(engine):
    """A group has an error pattern and an id. Events without an error form a group without a pattern and an id."""
    Orders(engine).event(error="no 1", retries=1).event(error="no 2", retries=1).event()
    with engine.connect() as connection:
        with_error, without = stats.groups(connection, 5, [stats.By.ERROR])
    assert (with_error.error, with_error.events, len(with_error.error_group)) == ("no #", 2, 8)
    assert (without.error, without.error_group, without.events) == (None, None, 1)
