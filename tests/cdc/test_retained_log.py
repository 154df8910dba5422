"""Test that the server can delete its write-ahead log while the outbox is quiet, because Debezium sends heartbeats."""

from ticketbottle_payctl.sandbox.kafka_messages import read_all
from ticketbottle_payctl.sandbox.server import wait_until
from ticketbottle_payctl.store.outbox.debezium_names import HEARTBEATS, UNROUTABLE

LAG = "SELECT (pg_current_wal_insert_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots"
A_LOT = 1_000_000


def test_a_quiet_outbox_does_not_retain_the_write_ahead_log(scene):
    """While programs write only to other tables, heartbeats advance the slot, so the server can delete its log.

    Heartbeats go to their own topic and not to the topic for unroutable events. The test shortens only the intervals of
    heartbeats and status updates.
    """
    scene.cut_over()
    scene.query("CREATE TABLE other (line text)")
    with scene.connect({"heartbeat.interval.ms": "300", "status.update.interval.ms": "300"}):
        wait_until(lambda: scene.slots("active"), what="the connector reads", timeout=20)
        scene.query("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
        assert scene.query(LAG)[0] > A_LOT

        def has_moved():
            scene.query("INSERT INTO other VALUES ('y')")
            return scene.query(LAG)[0] < A_LOT

        wait_until(has_moved, what="the slot has moved", timeout=30, pause=0.1)
    assert read_all(scene.kafka.bootstrap, [HEARTBEATS])
    assert read_all(scene.kafka.bootstrap, [UNROUTABLE]) == []
