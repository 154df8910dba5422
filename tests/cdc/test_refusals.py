"""Test when cut-over, mark and cut-back are refused, which events they mark, and which runs they record."""

import json
import re
from contextlib import contextmanager, nullcontext

import pytest
from typer.testing import CliRunner

from tests.cli.output.test_schemas import check
from ticketbottle_payctl.cli.app.main import app
from ticketbottle_payctl.errors import ConfigError, DatabaseUnavailableError, GuardError, LockedError
from ticketbottle_payctl.jobs.cdc import cut_over
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox import shard_lock
from ticketbottle_payctl.store.outbox.debezium_names import ROLE, SLOT, UNROUTABLE
from ticketbottle_payctl.store.outbox.shard_lock import Entry


def states(scene):
    """Return the number of outbox rows in each state."""
    sql = """
        SELECT CASE WHEN published AND "publishedAt" IS NOT NULL THEN 'published'
                    WHEN "retryCount" >= 5 THEN 'dead' ELSE 'pending' END AS state FROM outbox
    """
    found = scene.query(sql)
    return {state: found.count(state) for state in sorted(set(found))}


def insert(scene, count, **options):
    """Insert events and commit."""
    with scene.engine.begin() as connection:
        insert_events(connection, count, **options)


def test_a_cut_over_sends_the_last_pending_events(scene):
    """The cut-over sends all pending events in order and marks them, so that Debezium does not send them again."""
    insert(scene, 30, aggregates=10)
    insert(scene, 2, event_type="PAYMENT_REFUNDED")
    report = scene.cut_over()
    assert (report.sent, report.dead, report.failed, report.failure) == (30, 2, 0, None)
    assert states(scene) == {"dead": 2, "published": 30}
    assert (len(scene.messages()), scene.slots()) == (30, [SLOT])


def test_a_dry_run_of_the_cut_over_changes_nothing(scene):
    """A dry run of the cut-over only checks and counts. It does not create a slot or lock a shard."""
    insert(scene, 3)
    report = scene.cut_over(dry_run=True)
    assert (report.sent, report.dead, report.failed, report.dry_run) == (3, 0, 0, True)
    assert (states(scene), scene.messages(), scene.slots()) == ({"pending": 3}, [], [])
    assert scene.query("SELECT owner FROM payctl.publishers") == []


def test_a_refused_event_stops_the_cut_over(scene):
    """If Kafka refuses an event, the cut-over marks the sent events and stops.

    The remaining events stay pending, and the slot is not created.
    """
    insert(scene, 5)
    insert(scene, 1, payload_bytes=2_000_000)
    report = scene.cut_over()
    assert (report.sent, report.failed) == (5, 1)
    assert isinstance(report.failure, GuardError)
    assert "MSG_SIZE_TOO_LARGE" in report.failure.message
    assert (states(scene), scene.slots()) == ({"pending": 1, "published": 5}, [])


@pytest.mark.parametrize(("too_large", "failed"), [(0, 0), (1, 1)], ids=["handed over", "an event refused"])
def test_a_publisher_on_standby_rescans_at_once_after_a_cut_over(scene, too_large, failed):
    """A finished cut-over is marked as ended on each shard, so a returning publisher does not stay on standby."""
    insert(scene, 1)
    insert(scene, too_large, payload_bytes=2_000_000)
    assert scene.cut_over(shards=2).failed == failed
    owners = scene.query("SELECT owner FROM payctl.publishers")
    assert [shard_lock.name_of(owner) for owner in owners] == [("payctl cdc cut-over", True)] * 2
    with scene.engine.begin() as connection:
        entries = [shard_lock.enter(connection, shard, 2, 0, "host:1:a", lambda: True) for shard in (0, 1)]
    assert entries == [Entry.TAKEN_OVER] * 2


@contextmanager
def publisher_at_work(scene):
    """Hold the shard's lock as another publisher during the ``with`` block."""
    with scene.engine.connect() as connection:
        shard_lock.enter(connection, 0, 1, 0, "somebody")
        yield


def test_a_running_publisher_stops_the_cut_over(scene):
    """If a publisher holds a shard, the cut-over raises LockedError and does not create a slot."""
    with publisher_at_work(scene), pytest.raises(LockedError):
        scene.cut_over()
    assert scene.slots() == []


def test_events_behind_a_dead_event_stop_the_cut_over(scene):
    """The cut-over refuses to start if a dead event blocks other events, because Debezium would send them."""
    insert(scene, 1, aggregates=1, state="dead")
    key = scene.query('SELECT "aggregateId" FROM outbox')[0]
    insert(scene, 1)
    scene.query('UPDATE outbox SET "aggregateId" = %s', key)
    message = "1 pending event must wait behind a dead event, but Debezium would send it"
    with pytest.raises(GuardError, match=message) as refused:
        scene.cut_over()
    assert re.findall("`([^`]+)`", refused.value.hint) == ["payctl publish-outbox --on-dead release -n"]
    assert scene.slots() == []


def test_a_large_backlog_stops_the_cut_over(scene, monkeypatch):
    """The cut-over and its dry run refuse a backlog that is too large to send within seconds.

    They advise the dry run of a publisher, because they do not know whether a failure event would take tickets.
    """
    monkeypatch.setattr(cut_over, "MOST_PENDING", 4)
    insert(scene, 5)
    for dry_run in (True, False):
        with pytest.raises(GuardError, match="more than 4") as refused:
            scene.cut_over(dry_run=dry_run)
        assert re.findall("`([^`]+)`", refused.value.hint) == ["payctl publish-outbox -n"]
    assert (states(scene), scene.slots()) == ({"pending": 5}, [])


@pytest.mark.parametrize("publish", [None, "insert, update"])
def test_the_publication_must_be_for_inserts_only(publish, scene):
    """The cut-over refuses to start if the publication is missing or also publishes updates.

    Debezium would send payctl's marks as updates.
    """
    scene.query("DROP PUBLICATION payctl_outbox")
    if publish:
        scene.query(f"CREATE PUBLICATION payctl_outbox FOR TABLE outbox WITH (publish = '{publish}')")
    with pytest.raises(ConfigError, match="publication"):
        scene.cut_over()
    assert scene.slots() == []


def test_a_transaction_that_never_ends_stops_the_cut_over(scene, monkeypatch):
    """A cut-over stops waiting for an old writing transaction after a time limit, and does not leave a slot behind."""
    monkeypatch.setattr(cut_over, "PATIENCE", cut_over.PATIENCE / 60)
    with scene.engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE another (id int)")
        with pytest.raises(DatabaseUnavailableError, match="writing for too long"):
            scene.cut_over()
    assert scene.slots() == []


def test_a_second_cut_over_is_refused(scene):
    """A second cut-over is refused because the replication slot exists.

    Publishers refuse to work until payctl takes the outbox back.
    """
    scene.cut_over()
    with pytest.raises(GuardError, match="already exists"):
        scene.cut_over()
    with pytest.raises(GuardError, match="Debezium is publishing"):
        publish_outbox(scene.engine, scene.producer, PublishOptions())
    scene.cut_back()
    insert(scene, 2)
    assert publish_outbox(scene.engine, scene.producer, PublishOptions()).counts.published == 2


def test_mark_and_cut_back_need_a_replication_slot(scene):
    """Without a replication slot, payctl marks events itself, so it refuses `cdc mark` and `cdc cut-back`.

    `cdc cut-back` advises the check of the publishers, because a publisher may be running.
    """
    for command in (scene.mark, scene.cut_back):
        with pytest.raises(GuardError, match="no replication slot") as refused:
            command()
    assert refused.value.hint == "see whether a publisher is running: `payctl doctor --only publishers`"


def test_mark_updates_the_events_that_are_in_kafka(scene):
    """`cdc mark` marks each event in Kafka as published at its record's time, and each unroutable event as dead.

    A second `cdc mark` changes nothing. While a connector reads the slot, `cdc cut-back` is refused.
    """
    scene.cut_over()
    with scene.connect():
        insert(scene, 20)
        insert(scene, 3, event_type="PAYMENT_REFUNDED")
        scene.wait_for(23)
        assert scene.mark(dry_run=True).marked == 20
        assert states(scene) == {"pending": 23}
        first, second = scene.mark(), scene.mark()
        with pytest.raises(GuardError, match="still reads"):
            scene.cut_back()
    assert (first.read, first.marked, first.dead, first.pending) == (23, 20, 3, 0)
    assert (second.read, second.marked, second.dead) == (0, 0, 0)
    assert states(scene) == {"dead": 3, "published": 20}
    assert all(UNROUTABLE in error for error in scene.query('SELECT "lastError" FROM outbox WHERE NOT published'))
    late = scene.query("""SELECT id FROM outbox WHERE "publishedAt" NOT BETWEEN "createdAt" - interval '1 s'
                          AND clock_timestamp() AT TIME ZONE 'UTC' + interval '1 s'""")
    assert late == []


def test_the_printed_role_may_run_every_cdc_command(scene, cdc):
    """The printed SQL gives the role every privilege that the cdc commands need."""
    insert(scene, 4)
    assert cdc("cut-over", "-n")["dry_run"]
    handed_over = cdc("cut-over", "-y")
    assert (handed_over["exit_code"], handed_over["counts"]) == (0, {"sent": 4, "dead": 0, "failed": 0})
    assert cdc("cut-over", "-y")["exit_code"] == 7
    assert cdc("mark")["counts"] == {"marked": 0, "dead": 0, "read": 4, "pending": 0}
    assert cdc("cut-back", "-n")["counts"] == {"marked": 0, "dead": 0, "read": 0, "pending": 0}
    assert cdc("cut-back", "-y")["exit_code"] == 0
    assert cdc("cut-back", "-y")["error"]["code"] == "GUARD"


def test_cut_over_and_cut_back_need_yes(scene, cdc):
    """Without ``--yes``, or above the limit, cut-over and cut-back exit with code 7, even if no event is pending."""
    insert(scene, 4)
    assert cdc("cut-over")["error"]["hint"] == "check with -n, then add --yes"
    assert "--max-affected 4" in cdc("cut-over", "-y", "--max-affected", "3")["error"]["hint"]
    assert (states(scene), scene.slots()) == ({"pending": 4}, [])
    assert cdc("cut-over", "-y")["exit_code"] == 0
    assert "take the outbox back from Debezium and mark 0 events" in cdc("cut-back")["error"]["message"]
    assert scene.slots() == [SLOT]


def test_cdc_in_a_protected_profile_needs_reason_and_confirmation(cdc, tmp_path):
    """In a protected profile, cut-over, mark and cut-back need `--reason` and `--confirm`."""
    file = tmp_path / "config.toml"
    file.write_text("[profiles.prod.guard]\nprotected = true\n", "utf-8")
    named = ["-p", "prod", "--config", str(file)]
    given = [*named, "--reason", "peak", "--confirm", "prod"]
    assert "--reason TEXT --confirm prod" in cdc("cut-over", "-y", *named)["error"]["hint"]
    assert cdc("cut-over", "-y", *given)["exit_code"] == 0
    assert "--reason TEXT --confirm prod" in cdc("mark", *named)["error"]["hint"]
    assert cdc("mark", *given)["exit_code"] == 0
    assert "--reason TEXT --confirm prod" in cdc("cut-back", "-y", *named)["error"]["hint"]
    assert cdc("cut-back", "-y", *given)["exit_code"] == 0


def test_cut_over_and_cut_back_are_recorded_and_mark_is_not(cdc, scene):
    """The connector's role is allowed to record a cut-over and a cut-back.

    `cdc mark` runs every minute and is not recorded.
    """
    over = cdc("cut-over", "-y", "--reason", "peak")
    assert cdc("mark")["run_id"] is None
    back = cdc("cut-back", "-y", "--reason", "over")
    found = scene.query("SELECT concat_ws(' ', id, command, status, reason) FROM payctl.runs ORDER BY started_at")
    assert found == [f"{over['run_id']} cdc cut-over done peak", f"{back['run_id']} cdc cut-back done over"]


REFUSED = {
    "cut-over: a publisher runs": (["cdc", "cut-over", "-y"], None, 9),
    "cut-over: a second one": (["cdc", "cut-over", "-y"], "cut over", 7),
    "cut-over: no publication": (["cdc", "cut-over", "-y"], "DROP PUBLICATION payctl_outbox", 3),
    "cut-over: the role may create no slot": (["cdc", "cut-over", "-y"], f"ALTER ROLE {ROLE} NOREPLICATION", 3),
    "cut-back: no slot": (["cdc", "cut-back", "-y"], "SELECT 1", 7),
    "release: Debezium publishes": (["publish-outbox", "--on-dead", "release"], "cut over", 7),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_command_leaves_no_run(name, scene, own_url):
    """If a check refuses a command before any change, `payctl runs` does not show an interrupted run."""
    words, prepare, code = REFUSED[name]
    insert(scene, 2)
    with publisher_at_work(scene) if prepare is None else nullcontext():
        if prepare == "cut over":
            scene.cut_over()
        elif prepare:
            scene.query(prepare)
        environment = {"DATABASE_URL": own_url, "KAFKA_BROKERS": scene.kafka.bootstrap}
        ran = CliRunner().invoke(app, [*words, "--reason", "peak", "-o", "json"], env=environment)
    document = json.loads(ran.stdout)
    assert (document["exit_code"], document["run_id"]) == (code, None), document
    assert scene.query("SELECT status FROM payctl.runs") == []


def test_a_failed_cut_over_is_recorded_as_incomplete(scene, cdc):
    """If Kafka refuses an event after the cut-over has sent other events, the run is recorded as incomplete."""
    insert(scene, 2)
    insert(scene, 1, payload_bytes=2_000_000)
    document = cdc("cut-over", "-y", "--reason", "peak")
    found = scene.query("SELECT concat_ws(' ', id, status, counts->>'sent') FROM payctl.runs")
    assert found == [f"{document['run_id']} incomplete 2"]


def test_a_cut_over_and_a_cut_back_say_what_was_not_recorded(scene, cdc):
    """If the connector's role is not allowed to write the record, the commands do their work and print a warning."""
    insert(scene, 2)
    scene.query(f"REVOKE UPDATE ON payctl.runs FROM {ROLE}")
    over = cdc("cut-over", "-y", "--reason", "peak")
    scene.query(f"REVOKE INSERT ON payctl.runs FROM {ROLE}")
    back = cdc("cut-back", "-y", "--reason", "peak")
    assert [(each["exit_code"], each["run_id"]) for each in (over, back)] == [(0, None)] * 2
    (run,) = scene.query("SELECT id::text FROM payctl.runs")
    said = [each["warnings"][0].partition(": ")[0] for each in (over, back)]
    assert said == [
        f"the end of run {run} was not recorded, so `payctl runs` shows it as interrupted",
        "the run and its reason were not recorded",
    ]


def test_a_cut_over_with_a_dead_event_has_the_mark_of_its_exit_code(scene, own_url):
    """If an event becomes dead during a cut-over, the first line begins with the mark for exit code 6."""
    insert(scene, 2)
    insert(scene, 1, event_type="PAYMENT_REFUNDED")
    environment = {"DATABASE_URL": own_url, "KAFKA_BROKERS": scene.kafka.bootstrap}
    ran = CliRunner().invoke(app, ["cdc", "cut-over", "-y", "--reason", "peak"], env=environment)
    assert (ran.exit_code, ran.stdout.splitlines()[0]) == (6, "!  handed over: start the connector now")


@pytest.fixture
def cdc(scene, own_url):
    """Return a function that runs ``payctl cdc`` with the connector's role.

    The function checks the JSON document and returns it.
    """
    environment = {"DATABASE_URL": own_url, "KAFKA_BROKERS": scene.kafka.bootstrap}

    def run(*words):
        document = json.loads(CliRunner().invoke(app, ["cdc", *words, "-o", "json"], env=environment).stdout)
        check(document)
        return document

    return run
