"""Test that a replay applies its plan only once, changes only the planned rows, and records each change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import event

from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError
from ticketbottle_payctl.jobs.replay import PlannedEvent, ReplayOptions, ReplayOutcome, resume_run
from ticketbottle_payctl.sandbox.payment_service import insert_events, insert_payments_of_events
from ticketbottle_payctl.store.outbox.replay import Row
from ticketbottle_payctl.store.outbox.selector import Selector
from ticketbottle_payctl.store.payctl.runs import Actor

pytestmark = pytest.mark.postgres
WHO = Actor("night-shift", "laptop")
CANARY = "canary-of-an-old-error"


@pytest.fixture
def dead(engine):
    """Insert five dead events and their payments."""
    with engine.begin() as connection:
        insert_events(connection, 5, state="dead", last_error="it was away")
        insert_payments_of_events(connection)


@pytest.mark.usefixtures("dead")
def test_a_replay_makes_dead_events_pending_again(outbox):
    """A replay makes dead events pending again, and keeps their ids and last errors."""
    ids = outbox.ids()
    report = outbox.replay()
    assert (report.outcome, report.requeued, report.skipped, report.failed) == (ReplayOutcome.DONE, 5, 0, 0)
    expected = [(event_id, False, None, 0, "it was away") for event_id in ids]
    assert outbox.rows('id, published, "publishedAt", "retryCount", "lastError"') == expected


def test_published_events_lose_both_marks(outbox, engine):
    """A replay of a published or half-marked event clears its published flag and its publishedAt."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="published")
        insert_events(connection, 1, state="sent_unmarked")
    plan = outbox.plan(Selector(published=True), allow_published=True)
    assert outbox.replay(plan, ReplayOptions(allow_published=True)).requeued == 2
    assert outbox.rows('published, "publishedAt"') == [(False, None)] * 2


def test_a_replay_skips_published_events_without_a_separate_permission(outbox, engine):
    """A replay skips the published events in its plan unless its options allow published events."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="published")
        insert_events(connection, 1, state="dead")
    plan = outbox.plan(Selector(published=True, failed=True), allow_published=True)
    assert len(plan.events) == 3
    report = outbox.replay(plan, ReplayOptions())
    assert report.outcomes == {("requeued", None): 1, ("skipped", "published"): 2}
    assert outbox.states() == (1, 0, 2)


def test_a_replay_skips_a_planned_event_of_an_unknown_type(outbox, engine):
    """A plan of another payctl version may contain an event of an unknown type. The replay skips this event."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead")
    plan, unknown = outbox.plan(), outbox.ids()[0]
    outbox.execute("""UPDATE outbox SET "eventType" = 'NO_SUCH_TYPE' WHERE id = %(id)s""", id=unknown)
    rows = [Row(*row) for row in outbox.rows("id, ctid::text, xmin::text::bigint")]
    report = outbox.replay(replace(plan, events=tuple(PlannedEvent(row, "dead") for row in rows)))
    assert report.outcomes == {("requeued", None): 1, ("skipped", "unknown_type"): 1}
    assert [item.item_id for item in outbox.items(report.run_id) if item.outcome == "skipped"] == [unknown]
    assert outbox.states() == (1, 1, 0)


@pytest.mark.usefixtures("dead")
def test_a_replay_records_its_run_and_each_row(outbox):
    """A replay records the operator, the reason, and each row before and after the replay."""
    report = outbox.replay()
    run = outbox.run(report.run_id)
    assert (run.status, run.who.os_user, run.who.actor, run.reason) == ("done", "ops", "Linh", "of a test")
    assert (run.counts["requeued"], run.finished_at is None, run.db_role) == (5, False, "postgres")
    items = outbox.items(report.run_id)
    assert [item.item_id for item in items] == outbox.ids()
    before = {"published": False, "published_at": None, "retry_count": 5, "last_error": "it was away"}
    assert items[0].before == before
    assert items[0].after == {**before, "retry_count": 0}


@pytest.mark.usefixtures("dead")
def test_a_replayed_message_has_the_id_of_its_replay(outbox, publish, mock_kafka, read_all):
    """A replayed event's message has the original event id, and a header with the id of the latest replay."""
    event_id = outbox.ids()[0]
    run_ids = []
    for _ in range(2):
        plan = outbox.plan(Selector(ids=(event_id,)), allow_published=True)
        run_ids.append(outbox.replay(plan, ReplayOptions(allow_published=True)).run_id)
        publish()
    headers = [message.header for message in read_all(mock_kafka.bootstrap)]
    found = [(header["eventId"].decode(), header["replayRunId"].decode()) for header in headers]
    assert sorted(found) == sorted((event_id, run_id) for run_id in run_ids)


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(
    ("meanwhile", "outcome", "reason"),
    [
        ('UPDATE outbox SET "retryCount" = 6 WHERE id = %(id)s', "skipped", "changed"),
        ('UPDATE outbox SET "retryCount" = "retryCount" WHERE id = %(id)s', "skipped", "changed"),
        ('UPDATE outbox SET published = true, "publishedAt" = now() WHERE id = %(id)s', "skipped", "changed"),
        ("DELETE FROM outbox WHERE id = %(id)s", "skipped", "gone"),
    ],
)  # fmt: skip
def test_a_row_that_changed_since_the_plan_is_skipped_and_reported(outbox, meanwhile, outcome, reason):
    """A replay skips a row that was written after the plan was made, even if its values are the same."""
    plan, event_id = outbox.plan(), outbox.ids()[2]
    outbox.execute(meanwhile, id=event_id)
    before = outbox.rows("*", f"id = '{event_id}'")
    report = outbox.replay(plan)
    assert (report.requeued, report.outcomes[outcome, reason]) == (4, 1)
    assert [(item.item_id, item.reason) for item in report.left_alone] == [(event_id, reason)]
    assert outbox.rows("*", f"id = '{event_id}'") == before


@pytest.mark.usefixtures("dead")
def test_an_event_in_a_planned_row_s_physical_place_is_not_requeued(outbox, engine, database_url):
    """After a vacuum, a replay skips an event that took the physical position of a planned event."""
    plan, ids = outbox.plan(), outbox.ids()
    outbox.execute("DELETE FROM outbox WHERE id = ANY(%(ids)s)", ids=ids)
    session = psycopg2.connect(database_url)
    session.autocommit = True
    session.cursor().execute("VACUUM outbox")
    session.close()
    with engine.begin() as connection:
        insert_events(connection, 5, state="dead")
    report = outbox.replay(plan)
    assert (report.requeued, report.outcomes) == (0, {("skipped", "gone"): 5})
    assert outbox.states() == (0, 5, 0)


@pytest.mark.usefixtures("dead")
def test_a_replay_does_not_wait_for_a_locked_row(outbox, engine):
    """A replay does not wait for a locked row but counts it as failed. A later replay requeues the event."""
    plan, event_id = outbox.plan(), outbox.ids()[1]
    with engine.connect() as holder, holder.begin():
        holder.exec_driver_sql("UPDATE outbox SET published = true WHERE id = %(id)s", {"id": event_id})
        report = outbox.replay(plan)
        holder.get_transaction().rollback()
    assert (report.requeued, report.failed, report.outcomes["failed", "locked"]) == (4, 1, 1)
    assert outbox.replay().requeued == 1


def test_an_event_superseded_after_the_plan_is_skipped(outbox, engine):
    """A replay skips an event if its payment became COMPLETED after the plan was made."""
    with engine.begin() as connection:
        insert_events(connection, 2, state="dead", event_type="PAYMENT_FAILED")
        insert_payments_of_events(connection)
    plan = outbox.plan()
    outbox.execute("UPDATE payments SET status = 'COMPLETED'")
    assert outbox.replay(plan).outcomes == {("skipped", "superseded"): 2}
    allowed = ReplayOptions(allow_superseded=True)
    assert outbox.replay(plan, allowed).requeued == 2


def test_a_replay_records_the_events_that_its_plan_leaves_out(outbox, engine):
    """A replay records each event that its plan left out, with the reason."""
    with engine.begin() as connection:
        insert_events(connection, 1, state="dead")
    report = outbox.replay(outbox.plan(Selector(ids=(*outbox.ids(), "nowhere", "nobody"))))
    left_out = {item.item_id: item.reason for item in outbox.items(report.run_id) if item.reason}
    assert left_out == {"nowhere": "not_found", "nobody": "not_found"}
    assert (report.requeued, report.skipped) == (1, 2)


def test_transactions_are_bounded_and_keep_the_order(outbox, engine):
    """A replay changes at most 1,000 rows per transaction, in the order of the events."""
    with engine.begin() as connection:
        insert_events(connection, 3500, state="dead", aggregates=100)
    plan = outbox.plan()
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    report = outbox.replay(plan)
    assert (report.requeued, outbox.states()) == (3500, (3500, 0, 0))
    written = outbox.rows("xmin::text")
    assert len(set(written)) == 4
    assert max(map(written.count, set(written))) == 1000
    assert [item.item_id for item in outbox.items(report.run_id)] == outbox.ids()
    assert len(statements) < 30


def test_two_replays_of_one_plan_requeue_each_event_once(outbox, engine):
    """If two replays apply the same plan at the same time, each event is requeued once."""
    with engine.begin() as connection:
        insert_events(connection, 2000, state="dead")
    plan = outbox.plan()
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: outbox.replay(plan), range(2)))
    assert sum(report.requeued for report in reports) == 2000
    assert outbox.states() == (2000, 0, 0)


def test_a_replay_during_publishing_sends_each_event_once_and_in_order(outbox, engine, publish, mock_kafka, read_all):
    """If events are replayed while a publisher runs, each event is sent once and in order."""
    with engine.begin() as connection:
        insert_events(connection, 1500, state="dead", aggregates=300)
    with ThreadPoolExecutor(1) as pool:
        replayed = pool.submit(outbox.replay)
        while not replayed.done():
            publish()
    assert replayed.result().requeued == 1500
    publish()
    assert outbox.states() == (0, 0, 1500)
    sent = read_all(mock_kafka.bootstrap)
    by_key = {}
    for message in sent:
        by_key.setdefault(message.key.decode(), []).append(message.header["eventId"].decode())
    created = {}
    for event_id, key in outbox.rows('id, "aggregateId"'):
        created.setdefault(key, []).append(event_id)
    assert by_key == created


@pytest.mark.usefixtures("dead")
def test_the_error_of_a_replay_without_its_database_names_the_resume_command(outbox, engine):
    """If the database fails during a replay, the error suggests a command that resumes the run."""
    run_id = str(uuid4())

    def cut(connection, _cursor, statement, *_more):
        if "WITH chunk" in statement and not cut.done:
            cut.done = True
            with engine.connect() as other:
                pid = connection.connection.dbapi_connection.info.backend_pid
                other.exec_driver_sql("SELECT pg_terminate_backend(%(pid)s)", {"pid": pid})

    cut.done = False
    event.listen(engine, "before_cursor_execute", cut)
    with pytest.raises(DatabaseUnavailableError) as failure:
        outbox.replay(run_id=run_id)
    hint, _, way_on = failure.value.hint.rpartition(", then ")
    assert (bool(hint), way_on) == (True, f"`payctl runs resume {run_id}`")
    assert outbox.states() == (0, 5, 0)
    report = resume_run(engine, outbox.run(run_id), WHO, max_retries=5)
    assert (report.outcome, report.requeued, outbox.states()) == (ReplayOutcome.DONE, 5, (5, 0, 0))


@pytest.mark.usefixtures("dead")
def test_the_sql_of_an_error_during_a_replay_comes_right_after_its_introduction(outbox):
    """If an error suggests an SQL statement, the hint names the resume command first and ends with the words for psql.

    Both the screen and the JSON output show the statement after the hint.
    """
    run_id = str(uuid4())

    def tell(_processed):
        message = "permission denied"
        raise ConfigError(message, hint="as the user shop, run in psql", sql="GRANT USAGE ON SCHEMA public TO payctl")

    with pytest.raises(ConfigError) as failure:
        outbox.replay(run_id=run_id, tell=tell)
    way_on = f"run the SQL statement, then `payctl runs resume {run_id}`"
    assert failure.value.hint == f"{way_on}; as the user shop, run in psql"


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        (f"password={CANARY} refused", "password=*** refused"),
        (f"postgresql:{'//'}user:{CANARY}@db/x", f"postgresql:{'//'}user:***@db/x"),
        ("MSG_SIZE_TOO_LARGE: too large", "MSG_SIZE_TOO_LARGE: too large"),
        (None, None),
    ],
)
@pytest.mark.usefixtures("dead")
def test_a_run_records_no_secret_of_an_error(outbox, error, stored):
    """In the record of a replay, a password in an event's error is masked. The event itself keeps its error."""
    outbox.execute('UPDATE outbox SET "lastError" = %(error)s', error=error)
    run = str(uuid4())
    outbox.replay(run_id=run)
    with outbox.engine.connect() as connection:
        sql = "SELECT DISTINCT before->>'last_error', after->>'last_error' FROM payctl.run_items"
        (recorded,) = connection.exec_driver_sql(sql).all()
    assert tuple(recorded) == (stored, stored)
    assert {row[0] for row in outbox.rows('"lastError"')} == {error}
