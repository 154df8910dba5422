"""What a run says about the events that it did not send, and when a loop says it."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from tests.jobs.publish_outbox.conftest import CANCELLED, COMPLETED, FAILED, GOOD, PARTITIONS, Clockwork
from ticketbottle_payctl.errors import BrokerUnavailableError, DatabaseUnavailableError, GuardError
from ticketbottle_payctl.jobs.publish_outbox import Observer, Obstacles, OnDead, PublishOptions, preview_outbox
from ticketbottle_payctl.jobs.publish_outbox.run import Observer as RunObserver
from ticketbottle_payctl.store.outbox import shard_lock

TOO_LARGE = "MSG_SIZE_TOO_LARGE: Broker: Message size too large"


@contextmanager
def locked_row(outbox, id_):
    """Another session holds a row of the outbox."""
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'psql'")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        other.commit()
        other.exec_driver_sql("SELECT FROM outbox WHERE id = %(id)s FOR UPDATE", {"id": id_})
        yield pid
        other.rollback()


def told(report):
    """Each cause of a report: its reason, how many events wait, and the event that blocks."""
    return {(each.reason.value, each.events, each.event_id) for each in report.obstacles.blockers}


def dead_first(outbox, _mock_kafka):
    """A payment whose first event is dead, two behind it, and an event of another payment."""
    blocker = outbox.add("k", age=60, retry_count=5, last_error=TOO_LARGE)
    outbox.add("k", FAILED, age=50)
    outbox.add("k", age=40)
    outbox.add("other")
    return {"dead": (2, blocker)}, {}


def dead_first_released(outbox, mock_kafka):
    """The same, and dead events block nothing."""
    dead_first(outbox, mock_kafka)
    return {}, {"on_dead": OnDead.RELEASE}


def dead_with_nothing_behind_it(outbox, _mock_kafka):
    """A dead event holds nothing back by itself."""
    outbox.add("k", age=60, retry_count=5)
    outbox.add("other")
    return {}, {}


def retry_not_due(outbox, _mock_kafka):
    """An event that failed four times a moment ago, and one behind it."""
    blocker = outbox.add("r", retry_count=4, last_error="INVALID_REQUEST: no")
    outbox.add("r")
    return {"retry_later": (2, blocker)}, {}


def failed_now(outbox, mock_kafka):
    """An event that fails in this run counts as retried; the one behind it is held."""
    blocker = outbox.add("k", age=60)
    outbox.add("k", age=50)
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    return {"failed": (1, blocker)}, {}


def topic_missing(outbox, mock_kafka):
    """Three events of a type whose topic is missing, and one of another type behind one of them."""
    outbox.insert(2, event_type=FAILED)
    outbox.add("k", FAILED, age=60)
    outbox.add("k", age=50)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    return {"topic": (4, None)}, {}


def type_left_out(outbox, _mock_kafka):
    """With --type: an earlier event of another type."""
    blocker = outbox.add("k", CANCELLED, age=60)
    outbox.add("k", age=50)
    return {"other_type": (1, blocker)}, {"types": (COMPLETED,)}


def two_blocks_of_one_payment(outbox, _mock_kafka):
    """The earliest block counts, and each event once."""
    blocker = outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50, retry_count=5)
    outbox.add("k", age=40)
    return {"dead": (1, blocker)}, {}


CASES = [
    dead_first, dead_first_released, dead_with_nothing_behind_it, retry_not_due, failed_now, topic_missing,
    type_left_out, two_blocks_of_one_payment,
]  # fmt: skip


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_run_names_what_holds_events_back(case, shards, outbox, mock_kafka):
    """Reason, blocking event and number of events; `held` is their sum, and the run is partly done if there are any."""
    expected, options = case(outbox, mock_kafka)
    report = outbox.publish(shards=shards, **options)
    assert told(report) == {(reason, events, id_) for reason, (events, id_) in expected.items()}
    assert report.counts.held == sum(events for events, _ in expected.values())
    assert report.partial is bool(expected)
    assert report.stopped_because == "empty"


@pytest.mark.parametrize("case", [dead_first, retry_not_due, type_left_out, two_blocks_of_one_payment])
def test_a_preview_names_what_a_run_would_hold_back(case, outbox, mock_kafka):
    """The same as the run that follows, and nothing is claimed for it."""
    _, options = case(outbox, mock_kafka)
    before = outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id")
    preview = preview_outbox(outbox.engine, PublishOptions(**options))
    assert outbox.execute("SELECT id, xmin::text FROM outbox ORDER BY id") == before
    report = outbox.publish(**options)
    assert told(report) == {(each.reason.value, each.events, each.event_id) for each in preview.obstacles.blockers}
    assert preview.obstacles.held == report.counts.held > 0


@pytest.mark.parametrize("others", [0, 3])
def test_a_locked_row_is_named_with_the_session_that_has_it(outbox, others):
    """Also if it is the only pending row: a run that could claim nothing has not emptied the outbox."""
    id_ = outbox.add("k", age=60)
    outbox.insert(others)
    with locked_row(outbox, id_) as pid:
        report = outbox.publish()
    assert told(report) == {("row_locked", 1, id_)}
    assert report.obstacles.blockers[0].detail.startswith(f"session {pid} (psql, idle in transaction")
    assert (report.counts.published, report.counts.held, report.partial) == (others, 1, True)
    assert outbox.publish().counts.published == 1


def test_what_the_blockers_say(outbox, mock_kafka):
    """The last error from the row, the type, and when a retry is due; an error of this run as it was met."""
    dead_first(outbox, mock_kafka)
    retry_not_due(outbox, mock_kafka)
    by_reason = {each.reason.value: each for each in outbox.publish().obstacles.blockers}
    assert (by_reason["dead"].detail, by_reason["dead"].event_type) == (TOO_LARGE, COMPLETED)
    assert by_reason["dead"].retry_in_s is None
    assert 20 < by_reason["retry_later"].retry_in_s <= 40
    assert by_reason["retry_later"].detail == "INVALID_REQUEST: no"


def test_the_first_twenty_causes_are_named_and_every_event_is_counted(outbox):
    """The causes with the most events come first."""
    for number in range(30):
        outbox.add(f"k{number}", age=60, retry_count=5)
        outbox.insert(1)
        for _ in range(1 + number % 3):
            outbox.add(f"k{number}", age=50)
    obstacles = outbox.publish().obstacles
    assert (len(obstacles.blockers), obstacles.causes, obstacles.held) == (20, 30, 60)
    assert [each.events for each in obstacles.blockers] == [3] * 10 + [2] * 10


def test_held_events_are_counted_once_however_often_they_are_met(outbox):
    """A loop reads everything again every half minute."""
    outbox.add("k", age=60, retry_count=5)
    outbox.add("k", age=50)
    clockwork = Clockwork(waits=200)
    report = outbox.run(clockwork, loop=True)
    assert clockwork.now - 1000 > 90
    assert report.counts.held == 1


def test_what_was_tried_again_with_success_is_not_partly_done(outbox, mock_kafka):
    """Nobody waits any more: the run counts the failure as retried, and holds nothing against the result."""
    outbox.add("k")
    mock_kafka.fail_next(KafkaError.INVALID_REQUEST)
    report = outbox.run(Clockwork(waits=20), loop=True)
    assert (report.counts.retried, report.counts.published, report.partial) == (1, 1, False)


class Heard:
    """The causes that a loop told, in order."""

    def __init__(self, clockwork):
        self.clockwork, self.said = clockwork, []
        self.observer = Observer(on_obstacles=self._on_obstacles)

    def _on_obstacles(self, obstacles: Obstacles):
        causes = [*(f"locked {each.shard}" for each in obstacles.locked), *obstacles.stopped]
        causes += [each.reason.value for each in obstacles.blockers]
        causes += [obstacles.away.code] if obstacles.away else []
        self.said.append((round(self.clockwork.now - 1000, 1), causes))

    @property
    def causes(self):
        """Without the times."""
        return [causes for _, causes in self.said]


def loop(outbox, clockwork, **options):
    """Run a loop by a clockwork, and return what it told."""
    heard = Heard(clockwork)
    outbox.run(clockwork, observer=heard.observer, loop=True, **options)
    return heard


def test_a_loop_without_obstacles_tells_and_asks_nothing(outbox):
    """A healthy loop looks only once, for its report."""
    outbox.insert(5)
    looks = []
    heard = loop(outbox, Clockwork(waits=60, at={30: lambda: looks.append(outbox.insert(2))}))
    assert heard.said == []


def test_a_loop_says_at_once_that_a_topic_is_missing_and_that_it_is_back(outbox, mock_kafka):
    """Before it met an event of that type, once, and again when events flow."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    clockwork = Clockwork(waits=110, at={40: lambda: mock_kafka.fail_topic("payment.completed", 0)})
    heard = loop(outbox, clockwork)
    assert heard.causes == [[COMPLETED], []]
    assert heard.said[0][0] < 0.1


def test_a_loop_names_a_topic_and_the_events_that_wait_for_it(outbox, mock_kafka):
    """The events that come later change the count, not the cause."""
    mock_kafka.fail_topic("payment.completed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.insert(3)
    heard = loop(outbox, Clockwork(waits=30, at={10: lambda: outbox.insert(2)}))
    assert heard.causes == [[COMPLETED, "topic"]]


def test_a_loop_says_when_a_payment_is_blocked_and_when_it_is_free(outbox):
    """Once for each change, however long it lasts."""
    blocker = outbox.add("k", age=60, retry_count=5)

    def replay():
        outbox.execute("""UPDATE outbox SET "retryCount" = 0 WHERE id = %(id)s""", id=blocker)

    heard = loop(outbox, Clockwork(waits=160, at={20: lambda: outbox.add("k"), 80: replay}))
    assert heard.causes == [["dead"], []]
    assert outbox.verdict() == GOOD


def test_a_loop_says_once_that_a_partition_has_no_leader(outbox, mock_kafka):
    """Its events are tried every two seconds and fail each time; that is one cause, however many they are."""
    for partition in range(PARTITIONS):
        mock_kafka.set_leader("payment.completed", partition, -1)
    outbox.insert(3)
    heard = loop(outbox, Clockwork(waits=60, at={40: lambda: outbox.insert(2)}))
    assert heard.causes[0] == ["failed"] * 3
    assert len(heard.causes) == 1


def test_a_loop_with_many_blocked_payments_does_not_name_each_new_one(outbox):
    """More causes than are named are told once; the log of a bad day stays readable."""
    for number in range(40):
        outbox.add(f"k{number}", age=60, retry_count=5)
        outbox.add(f"k{number}", age=50)
    at = {20 + number: lambda number=number: outbox.add(f"k{number}") for number in range(40)}
    heard = loop(outbox, Clockwork(waits=80, at=at))
    assert heard.causes == [["dead"] * 20]


def test_a_loop_says_who_holds_the_shard_and_when_it_is_free(outbox):
    """After the two seconds that a batch of another publisher may take."""
    with outbox.engine.connect() as other:
        shard_lock.enter(other, 0, 1, 0, "elsewhere:77:abc")
        heard = loop(outbox, Clockwork(waits=30, at={25: other.rollback}))
    assert heard.causes == [["locked 0"], []]
    assert 2 < heard.said[0][0] < 4


@pytest.mark.parametrize("waits", [8, 30])
def test_a_loop_says_once_that_the_brokers_are_away(outbox, mock_kafka, monkeypatch, waits):
    """However many attempts fail, and with whatever words."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.3)
    mock_kafka.down()
    outbox.insert(2)
    heard = loop(outbox, Clockwork(waits=waits, at={5: mock_kafka.up}))
    assert heard.causes == [["KAFKA_UNAVAILABLE"], []]


def test_a_loop_says_that_the_database_is_read_only(outbox):
    """In words, and once; events flow again when it is not."""

    def set_to(value):
        database = outbox.execute("SELECT current_database()")[0][0]
        with outbox.engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.commit()
            connection.exec_driver_sql(f"ALTER DATABASE {database} SET default_transaction_read_only = {value}")
            connection.commit()
        outbox.engine.dispose()

    outbox.insert(2)
    set_to("on")
    clockwork = Clockwork(waits=12, at={4: lambda: set_to("off")})
    messages = []
    heard = RunObserver(on_obstacles=lambda obstacles: messages.append(obstacles.away and obstacles.away.message))
    report = outbox.run(clockwork, observer=heard, loop=True)
    assert [message and message.partition(":")[0] for message in messages] == ["the database is read-only", None]
    assert (report.counts.published, outbox.verdict()) == (2, GOOD)


def test_a_stopped_loop_still_names_the_service_that_was_away(outbox, mock_kafka, monkeypatch):
    """A stop is no failure, but nobody should read that all is well."""
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._PROBE_TIMEOUT", 0.3)
    mock_kafka.down()
    report = outbox.run(Clockwork(waits=3), loop=True)
    assert (report.stopped_because, report.failure) == ("signal", None)
    assert isinstance(report.obstacles.away, BrokerUnavailableError)


def test_the_holder_of_a_shard_is_named(outbox):
    """By its session, and by the publisher that committed there last."""
    outbox.publish()
    with outbox.engine.connect() as other:
        other.exec_driver_sql("SET application_name = 'by hand'")
        pid = other.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        shard_lock.enter(other, 0, 1, 1, "elsewhere:77:abc")
        (locked,) = outbox.run(Clockwork()).obstacles.locked
        other.rollback()
    last = f"last taken over by process {os.getpid()} on {socket.gethostname()}"
    assert locked.holder == f"database session {pid} (by hand from 127.0.0.1), {last}"


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
def test_an_outage_is_one_cause_whatever_the_client_says_each_time(first, second, same):
    """So a log gets one line for it. Another kind of trouble is another cause."""
    assert Obstacles(away=first).same_as(Obstacles(away=second)) is same


def test_a_preview_beside_debezium_is_refused_like_the_run(outbox, monkeypatch):
    """A preview of a run that cannot be made would mislead."""

    def refuse(_connection):
        message = "Debezium publishes this outbox"
        raise GuardError(message)

    monkeypatch.setattr("ticketbottle_payctl.store.outbox.cdc.refuse_while_debezium_publishes", refuse)
    with pytest.raises(GuardError):
        preview_outbox(outbox.engine, PublishOptions())


@pytest.mark.parametrize("endless", [True, False], ids=["loop", "drain"])
def test_a_look_that_takes_too_long_costs_nothing_but_the_names(outbox, mock_kafka, monkeypatch, endless):
    """Publishing goes on, a missing topic is told, and the run is still partly done."""

    def slow(connection, *_arguments):
        connection.exec_driver_sql("SELECT pg_sleep(5)")

    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run._LOOK_LIMIT", timedelta(milliseconds=20))
    monkeypatch.setattr("ticketbottle_payctl.jobs.publish_outbox.run.look", slow)
    mock_kafka.fail_topic("payment.failed", KafkaError.UNKNOWN_TOPIC_OR_PART)
    outbox.add("k", FAILED)
    clockwork = Clockwork(waits=40, at={20: lambda: outbox.insert(3)} if endless else {})
    heard = Heard(clockwork)
    outbox.insert(2)
    report = outbox.run(clockwork, observer=heard.observer, loop=endless)
    assert report.counts.published == (5 if endless else 2)
    assert heard.causes == ([[FAILED]] if endless else [])
    assert (report.partial, report.obstacles.known) == (True, False)
    assert report.counts.held > 0
