"""Test that Debezium and payctl's own publisher send the same message for each kind of event."""

from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.jobs.publish_outbox import PublishOptions, publish_outbox
from ticketbottle_payctl.sandbox.payment_service import insert_events
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, HEARTBEATS, UNROUTABLE

ONLY_PAYCTL = ("eventVersion", b"1.0")
UNKNOWN = (
    "PAYMENT_REFUNDED",
    "payment_completed",
    "XPAYMENT_FAILED",
    "PAYMENT_FAILED_LATE",
    "payment.completed",
    "payment.other",
    "PAYMENT_FAILED\nPAYMENT_COMPLETED",
    "__debezium-heartbeat.payctl.x",
    "",
)
ODD_PAYLOADS = (
    "{}",
    "[]",
    "1E+2",
    '"text"',
    "null",
    '{"b": 1, "a": 12345678901234567890.10, "a": 2}',
    '{"tên": "Nguyễn Văn A 🎫", "quote": "\\"\\\\ \\u001f \\u2028 $0 ${x} %s"}',
    '{"nested": {"deep": [1, [2, {"three": null}]]}}',
    '{"long": "' + "x" * 20_000 + '"}',
)


def test_debezium_and_payctl_send_the_same_messages(scene):
    """Debezium and payctl send an event with the same topic, partition, key, value and headers.

    Only one constant header and the headers from payctl's own tables can differ. The page scale.md explains these
    differences.
    """
    assert scene.cut_over().sent == 0
    with scene.connect() as worker:
        with scene.engine.begin() as connection:
            write_all_kinds(connection)
        (count,) = scene.query("SELECT count(*) FROM outbox")
        scene.wait_for(count)
        assert "FAILED" not in worker.status().values()
        by_debezium = {message.header["id"]: message for message in scene.messages()}
        worker.stop()
    scene.wait_until_the_connector_is_gone()
    scene.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    scene.kafka.recreate_topics((*ALL_TOPICS, HEARTBEATS))
    publish_outbox(scene.engine, scene.producer, PublishOptions())
    by_payctl = {message.header["id"]: message for message in scene.messages()}

    assert len(by_debezium) == count
    unroutable = {event_id: one for event_id, one in by_debezium.items() if one.topic == UNROUTABLE}
    assert {message.header["eventType"].decode() for message in unroutable.values()} == set(UNKNOWN)
    assert by_payctl.keys() == by_debezium.keys() - unroutable.keys()
    for event_id, ours in by_payctl.items():
        theirs = by_debezium[event_id]
        assert (theirs.topic, theirs.partition, theirs.key) == (ours.topic, ours.partition, ours.key)
        assert theirs.value == ours.value
        assert theirs.headers == tuple(header for header in ours.headers if header != ONLY_PAYCTL)


def write_all_kinds(connection):
    """Write events of each known type and of an unknown type, with both spellings of the aggregate type.

    Also write events with unusual payloads.
    """
    for event_type in (*TOPICS, *UNKNOWN):
        insert_events(connection, 20, event_type=event_type)
    insert_events(connection, 40, aggregates=7, aggregate_type="Payment")
    for number, payload in enumerate(ODD_PAYLOADS):
        for key in (f"odd-{number}", f"khóa-{number}"):
            connection.exec_driver_sql(
                'INSERT INTO outbox (id, "aggregateId", "aggregateType", "eventType", payload) '
                "VALUES (gen_random_uuid(), %s, 'payment', 'PAYMENT_COMPLETED', %s)",
                (key, payload),
            )
