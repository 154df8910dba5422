"""Test that a publisher run reports why events were not sent."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager

import pytest
from confluent_kafka import KafkaError
from sqlalchemy.event import listen, remove

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, Clockwork
from ticketbottle_payctl.errors import BrokerUnavailableError, DatabaseUnavailableError, GuardError
from ticketbottle_payctl.jobs.publish_outbox import Obstacles, OnDead, PublishOptions, preview_outbox
from ticketbottle_payctl.jobs.publish_outbox.facts import BlockReason
from ticketbottle_payctl.jobs.publish_outbox.obstacles import MOST_NAMED, Blocker
from ticketbottle_payctl.store.outbox import shard_lock

TOO_LARGE = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"


@contextmanager
def locked_row(outbox, id_):
    """Lock an outbox row in another session, and yield the pid of this session."""
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'psql'")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.commit()
        other.exec_driver_sql("SELECT FROM outbox WHERE id = %(id)s FOR UPDATE", {"id": id_})
        yield pid
        other.rollback()


def told(report):
    """Return each cause in a report with its reason, the count of its waiting events and its blocking event."""
    return {(each.reason.value, each.events, each.event_id) for each in report.obstacles.blockers}


def dead_first(outbox, _mock_kafka):
    """Insert a payment with two events behind a dead event, and an event of another payment."""
    blocker = outbox.add("k", age=60, retry_count=5, last_error=TOO_LARGE)
    outbox.add("k", FAILED, age=50)
    outbox.add("k", age=40)
    outbox.add("other")
    return {"dead": (2, blocker)}, {}


def dead_first_released(outbox, mock_kafka):
    """Insert the events of ``dead_first``. With ``--on-dead release``, dead events do not block."""
    dead_first(outbox, mock_kafka)
    return {}, {"on_dead": OnDead.RELEASE}


def dead_with_nothing_behind_it(outbox, _mock_kafka):
    """Insert a dead event that does not block other events."""
    outbox.add("k", age=60, retry_count=5)
    outbox.add("other")
    return {}, {}


def retry_not_due(outbox, _mock_kafka):
    """Insert an event that has just failed for the fourth time, and an event that waits behind it."""
    blocker = outbox.add("r", retry_count=4, last_error="INVALID_REQUEST: no")
    outbox.add("r")
    return {"retry_later": (2, blocker)}, {}


def failed_now(outbox, mock_kafka):
    """Insert an event that fails in this run, and an event that waits behind it."""
    blocker = outbox.add("k", age=60)
    outbox.add("k", age=50)
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    return {"failed": (1, blocker)}, {}


def failed_alone(outbox, mock_kafka):
    """Insert an event that fails in this run and does not block other events. The run still reports this event."""
    blocker = outbox.add("k")
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    return {"failed": (0, blocker)}, {}


def topic_missing(outbox, mock_kafka):
    """Insert three events whose topic is missing, and an event that waits behind one of them."""
    outbox.insert(2, event_type=FAILED)
    outbox.add("k", FAILED, age=60)
    outbox.add("k", age=50)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    return {"topic": (4, None)}, {}


def sent_before_its_topic_was_missing(outbox, mock_kafka):
    """Insert an event that waits behind a dead event, and an event that waits for a missing topic.

    The payment with the dead event also has a published event whose topic is now missing.
    """
    outbox.add("k", FAILED, age=70, published=True)
    blocker = outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50)
    outbox.add("other", FAILED)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    return {"dead": (1, blocker), "topic": (1, None)}, {}


def type_left_out(outbox, _mock_kafka):
    """Insert an event that waits behind an event whose type --type excludes."""
    blocker = outbox.add("k", CANCELLED, age=60)
    outbox.add("k", age=50)
    return {"other_type": (1, blocker)}, {"types": (COMPLETED,)}


def two_blocks_of_one_payment(outbox, _mock_kafka):
    """Insert two dead events of one payment, and a later event that waits behind the first dead event."""
    blocker = outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50, retry_count=5)
    outbox.add("k", age=40)
    return {"dead": (1, blocker)}, {}


CASES = [
    dead_first, dead_first_released, dead_with_nothing_behind_it, retry_not_due, failed_now, failed_alone,
    topic_missing, sent_before_its_topic_was_missing, type_left_out, two_blocks_of_one_payment,
]  # fmt: skip


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_run_reports_each_block_and_the_number_of_waiting_events(case, shards, outbox, mock_kafka):
    """A publisher run reports each block with its reason, its blocking event and the number of waiting events.

    If events wait, the run is partly done.
    """
    expected, options = case(outbox, mock_kafka)
    report = outbox.publish(shards=shards, **options)
    assert told(report) == {(reason, events, id_) for reason, (events, id_) in expected.items()}
    assert report.counts.held == sum(events for events, _ in expected.values())
    assert report.partial is bool(expected)
    assert report.stopped_because == "empty"


@pytest.mark.parametrize("case", [dead_first, retry_not_due, type_left_out, two_blocks_of_one_payment])
def test_a_preview_reports_the_same_blocks_as_the_run(case, outbox, mock_kafka):
    """A preview of publishing does not claim events, but reports the same blocks as the run that follows."""
    _, options = case(outbox, mock_kafka)
    before = outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id")
    preview = preview_outbox(outbox.engine, PublishOptions(**options))
    assert outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id") == before
    report = outbox.publish(**options)
    assert told(report) == {(each.reason.value, each.events, each.event_id) for each in preview.obstacles.blockers}
    assert preview.obstacles.held == report.counts.held > 0


def behind_an_unknown_type(outbox):
    """Insert an event of an unknown type with two events behind it, one of which also has an unknown type."""
    dying = outbox.add("k", "NO_SUCH_TYPE", age=60)
    outbox.add("k", "NO_SUCH_TYPE", age=50)
    outbox.add("k", age=40)
    return {("would_die", 2, dying)}


def unknown_behind_a_dead_event(outbox):
    """Insert an event of an unknown type between a dead event and a success event."""
    dead = outbox.add("k", age=60, retry_count=5, last_error=TOO_LARGE)
    outbox.add("k", "NO_SUCH_TYPE", age=50)
    outbox.add("k", age=40)
    return {("dead", 2, dead)}


def unknown_before_a_dead_event(outbox):
    """Insert an event of an unknown type before a dead event, and a success event behind both."""
    dying = outbox.add("k", "NO_SUCH_TYPE", age=60)
    outbox.add("k", age=50, retry_count=5, last_error=TOO_LARGE)
    outbox.add("k", age=40)
    return {("would_die", 1, dying)}


def unknown_not_due(outbox):
    """Insert an event of an unknown type that waits for its retry, and a success event behind it."""
    waiting = outbox.add("k", "NO_SUCH_TYPE", retry_count=4, last_error="INVALID_REQUEST: no")
    outbox.add("k")
    return {("retry_later", 2, waiting)}


def unknown_alone(outbox):
    """Insert an event of an unknown type behind a success event."""
    outbox.add("k", age=60)
    outbox.add("k", "NO_SUCH_TYPE", age=50)
    return set()


@pytest.mark.parametrize("on_dead", list(OnDead))
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    "case",
    [
        behind_an_unknown_type, unknown_behind_a_dead_event, unknown_before_a_dead_event, unknown_not_due,
        unknown_alone,
    ],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_a_preview_foresees_the_deaths_of_a_run(case, shards, on_dead, outbox):
    """A preview counts the events that a run would send, the events that would become dead, and those behind them."""
    expected = case(outbox)
    waiting, obstacles, *_ = preview_outbox(outbox.engine, PublishOptions(shards=shards, on_dead=on_dead))
    told_before = {(each.reason.value, each.events, each.event_id) for each in obstacles.blockers}
    lasting = {each for each in expected if each[0] == "retry_later"}
    assert told_before == (expected if on_dead is OnDead.BLOCK else lasting)
    pending = sum(row.events for row in waiting)
    unknown = sum(row.events for row in waiting if row.event_type == "NO_SUCH_TYPE")
    dying = unknown - obstacles.held_by_type.get("NO_SUCH_TYPE", 0)
    report = outbox.publish(shards=shards, on_dead=on_dead)
    counts = report.counts
    assert (pending - obstacles.held - dying, dying, obstacles.held) == (counts.published, counts.dead, counts.held)
    assert told(report) == {("dead" if each[0] == "would_die" else each[0], *each[1:]) for each in told_before}


@pytest.mark.parametrize("others", [0, 3])
def test_a_run_names_the_session_that_locks_a_row(outbox, others):
    """A publisher run names the session that locks a row, even if the run cannot claim any other event."""
    id_ = outbox.add("k", age=60)
    outbox.insert(others)
    with locked_row(outbox, id_) as pid:
        report = outbox.publish()
    assert told(report) == {("row_locked", 1, id_)}
    assert report.obstacles.blockers[0].detail.startswith(f"session {pid} (psql, idle in transaction")
    assert (report.counts.published, report.counts.held, report.partial) == (others, 1, True)
    assert outbox.publish().counts.published == 1


def test_every_locked_row_is_counted(outbox):
    """A publisher run counts all events whose rows are locked, even if there are too many to list."""
    for number in range(MOST_NAMED + 5):
        outbox.add(f"k{number}", age=60)
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SELECT FROM outbox FOR UPDATE")
        found = outbox.publish().obstacles
    assert (len(found.blockers), found.locked_rows) == (MOST_NAMED, MOST_NAMED + 5)


def test_a_block_has_the_error_and_the_time_of_the_retry(outbox, mock_kafka):
    """The report about a block contains the blocking event's error and type, and the seconds until its retry."""
    dead_first(outbox, mock_kafka)
    retry_not_due(outbox, mock_kafka)
    by_reason = {each.reason.value: each for each in outbox.publish().obstacles.blockers}
    assert (by_reason["dead"].detail, by_reason["dead"].event_type) == (TOO_LARGE, COMPLETED)
    assert by_reason["dead"].retry_in_s is None
    assert 20 < by_reason["retry_later"].retry_in_s <= 40
    assert by_reason["retry_later"].detail == "INVALID_REQUEST: no"


def test_a_run_names_twenty_causes_and_counts_every_waiting_event(outbox):
    """A publisher run names the twenty causes with the most waiting events, and counts all waiting events."""
    for number in range(30):
        outbox.add(f"k{number}", age=60, retry_count=5)
        outbox.insert(1)
        for _ in range(1 + number % 3):
            outbox.add(f"k{number}", age=50)
    obstacles = outbox.publish().obstacles
    assert (len(obstacles.blockers), obstacles.causes, obstacles.held) == (20, 30, 60)
    assert [each.events for each in obstacles.blockers] == [3] * 10 + [2] * 10


def test_a_loop_counts_each_waiting_event_once(outbox):
    """A publisher loop counts a waiting event once, even though the loop finds the event again at each rescan."""
    outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50)
    clockwork = Clockwork(waits=200)
    report = outbox.run(clockwork, loop=True)
    assert clockwork.now - 1000 > 90
    assert report.counts.held == 1


def test_a_run_whose_retry_succeeded_is_not_partly_done(outbox, mock_kafka):
    """If the retry of a failed event succeeds, the publisher run is not partly done."""
    outbox.add("k")
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    report = outbox.run(Clockwork(waits=20), loop=True)
    assert (report.counts.retried, report.counts.published, report.partial) == (1, 1, False)


def test_a_run_names_the_holder_of_a_locked_shard(outbox):
    """If a shard is locked, a publisher run names the session that holds the lock, and the shard's last publisher."""
    outbox.publish()
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'by hand'")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        shard_lock.enter(other, 0, 1, 1, "elsewhere:77:abc")
        (locked,) = outbox.run(Clockwork()).obstacles.locked
        other.rollback()
    last = f"last taken over by process {os.getpid()} on {socket.gethostname()}"
    assert locked.holder == f"database session {pid} (by hand from 127.0.0.1), {last}"


@pytest.mark.parametrize("owner", ["payctl cdc cut-over:abc", "payctl cdc cut-over:abc ended"])
def test_a_run_names_a_cut_over_that_took_over_its_shard(owner, outbox):
    """If a cut-over took over a shard, the report names the cut-over without a process or a host."""
    outbox.publish()
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE payctl.publishers SET owner = %(owner)s", {"owner": owner})
    with outbox.engine.connect() as other:
        shard_lock.enter(other, 0, 1, 1, "elsewhere:77:abc")
        (locked,) = outbox.run(Clockwork()).obstacles.locked
        other.rollback()
    assert locked.holder.endswith(", last taken over by payctl cdc cut-over")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (BrokerUnavailableError("a:1 refused (after 1ms)"), BrokerUnavailableError("b:2 timed out"), True),
        (DatabaseUnavailableError("refused (pid 1)"), DatabaseUnavailableError("refused (pid 22)"), True),
        (DatabaseUnavailableError("refused"), DatabaseUnavailableError("the database is read-only"), False),
        (DatabaseUnavailableError("x"), BrokerUnavailableError("x"), False),
        (None, BrokerUnavailableError("x"), False),
    ],
)
def test_an_outage_with_different_error_texts_is_one_cause(first, second, same):
    """Two errors in one outage are the same cause, even if their messages differ.

    A different outage is a different cause.
    """
    assert Obstacles(away=first).same_as(Obstacles(away=second)) is same


@pytest.mark.parametrize(
    ("reason", "causes", "same"),
    [(BlockReason.DEAD, 1, False), (BlockReason.DEAD, 20, False), (BlockReason.DEAD, 21, True)],
)
def test_two_blocking_events_are_different_causes_unless_there_are_many(reason, causes, same):
    """Two blocking events are separate causes, unless there are too many causes to list individually."""
    one, other = (
        Obstacles(blockers=[Blocker(reason, 1, event_id, COMPLETED, "no")], causes=causes) for event_id in ("a", "b")
    )
    assert (one.same_as(other), one.same_as(one)) == (same, True)
    assert (one.held, one.failed, one.dead, one.known) == (0, 0, 0, True)


def test_a_preview_is_refused_while_debezium_publishes(outbox, monkeypatch):
    """While Debezium publishes, a preview of publishing raises GuardError, as a real run does."""

    def refuse(_connection):
        message = "Debezium is publishing this outbox"
        raise GuardError(message)

    monkeypatch.setattr("ticketbottle_payctl.store.outbox.cdc.refuse_while_debezium_publishes", refuse)
    with pytest.raises(GuardError):
        preview_outbox(outbox.engine, PublishOptions())


@pytest.mark.usefixtures("short_probe")
def test_a_slow_count_of_pending_events_hides_no_other_obstacle(outbox, mock_kafka):
    """If the count of pending events times out after an outage, the report still has the other obstacles."""
    outbox.insert(2)
    outbox.add("k", retry_count=5)
    mock_kafka.down()
    with ExitStack() as stack:
        holder = stack.enter_context(outbox.engine.connect())

        def lock(*arguments):
            if "SELECT count(*) FROM outbox WHERE" in arguments[2]:
                holder.exec_driver_sql("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")

        listen(outbox.engine, "before_cursor_execute", lock)
        stack.callback(remove, outbox.engine, "before_cursor_execute", lock)
        report = outbox.run(Clockwork())
        assert holder.in_transaction(), "the count was locked out"
        holder.rollback()
    found = report.obstacles
    assert (report.stopped_because, found.known, found.pending, found.dead) == ("broker_unavailable", True, None, 1)
    assert outbox.run(Clockwork()).obstacles.pending == 2
