"""Test that the permissions of docs/how-to/kafka-security.md are enough for each command.

The user has exactly the permissions in the command's row, as ACLs of Apache Kafka. No test runs on Amazon MSK, which
exists only on AWS.
"""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer as Client
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.conftest import in_memory, started_or_skipped
from tests.servers.apache_kafka import ApacheKafka
from ticketbottle_payctl.broker import window
from ticketbottle_payctl.broker.config import connection_config, producer_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.broker.search import SearchQuery, find_records
from ticketbottle_payctl.domain.event import TOPICS, Message
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.doctor import Status, Subject, diagnose
from ticketbottle_payctl.settings import Settings
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, MARKING_GROUP

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka_permissions"), pytest.mark.timeout(120)]

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "kafka-security.md").read_text("utf-8")
ROWS = {
    command: cells.split("|") for command, cells in re.findall(r"^\| `payctl ([a-z -]+)` \|(.*)\|$", PAGE, re.MULTILINE)
}
"""The page's permissions by command: on the cluster, on the topics, and on consumer groups."""
OPERATIONS = {
    "WriteDataIdempotently": AclOperation.IDEMPOTENT_WRITE,
    "DescribeTopic": AclOperation.DESCRIBE,
    "ReadData": AclOperation.READ,
    "WriteData": AclOperation.WRITE,
    "DescribeGroup": AclOperation.DESCRIBE,
    "AlterGroup": AclOperation.READ,
}
STRICT = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
TOPIC = "payment.completed"
PATIENCE = timedelta(seconds=20)


@pytest.fixture(scope="module")
def broker():
    """Yield a broker on which the user has only the permissions that a test grants."""
    server = started_or_skipped(lambda: ApacheKafka(secure=True, settings=STRICT, within=in_memory()))
    server.recreate_topics(set(TOPICS.values()) | set(ALL_TOPICS))
    client = Client({"bootstrap.servers": server.bootstrap})
    for partition in range(3):
        client.produce(TOPIC, b"{}", "key", partition=partition, headers={"eventId": "wanted"})
    assert client.flush(10) == 0
    yield server
    server.close()


def grant(broker, cells):
    """Give the user exactly the permissions in the cells of a row."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    for future in admin.delete_acls([everything]).values():
        future.result(10)
    cluster, of_topics, groups = cells
    group = groups.partition(":")[0].strip(" `")
    places = [
        (ResourceType.BROKER, "kafka-cluster", ResourcePatternType.LITERAL, cluster),
        (ResourceType.TOPIC, "payment.", ResourcePatternType.PREFIXED, of_topics),
        (ResourceType.GROUP, group, ResourcePatternType.LITERAL, groups.partition(":")[2]),
    ]
    bindings = [
        AclBinding(kind, name, pattern, f"User:{broker.username}", "*", OPERATIONS[word], AclPermissionType.ALLOW)
        for kind, name, pattern, cell in places
        for word in re.findall(r"`([A-Z]\w+)`", cell)
    ]
    for future in admin.create_acls(bindings).values() if bindings else ():
        future.result(10)
    deadline = time.monotonic() + 20
    while len(admin.describe_acls(everything).result(10)) != len(bindings):  # the broker applies them a moment later
        assert time.monotonic() < deadline, "the broker did not apply the permissions"


def publish(settings):
    """Send a message as the publisher does."""
    producer = Producer(producer_config(settings))
    try:
        producer.probe(10)
        assert producer.send([Message(TOPIC, "key", "value", [])], timeout=20) == {}
    finally:
        producer.close()


def show(settings):
    """Find the records of an event as `payctl show` does."""
    now = datetime.now(UTC)
    query = SearchQuery(TOPIC, "key", "wanted", now - timedelta(hours=1), now + timedelta(hours=1))
    assert find_records(connection_config(settings), query, PATIENCE).records


def reconcile(settings):
    """Read the events of a time window as `payctl reconcile outbox` does."""
    query = window.WindowQuery([TOPIC], datetime.now(UTC) - timedelta(hours=1), {"wanted"})
    assert len(window.read_window(connection_config(settings), query, PATIENCE).copies) == 3


def mark(settings):
    """Store and read a position as `payctl cdc mark` does."""
    follower = Follower(connection_config(settings), MARKING_GROUP, [TOPIC])
    try:
        follower.begin_at_end()
        follower.open()
    finally:
        follower.close()


def findings(settings):
    """Return the findings of the doctor's Kafka check, and close the producers that the check created."""
    made = []

    def producer():
        made.append(Producer(producer_config(settings)))
        return made[-1]

    subject = Subject(
        engine=lambda: pytest.fail("the check of Kafka needs no database"),
        kafka=lambda: settings,
        producer=producer,
        credentials=lambda _: {},
        now=lambda: datetime.now(UTC),
    )
    try:
        return diagnose(subject, ["kafka"]).findings
    finally:
        for one in made:
            one.close()


def doctor(settings):
    """Run the doctor's Kafka check, and assert that it finds no fault in the brokers and the topics."""
    found = findings(settings)
    assert [(one.check, one.status) for one in found] == [("kafka", Status.OK)] * (1 + len(TOPICS)), found


DONE = {
    "publish-outbox": publish,
    "show": show,
    "reconcile outbox": reconcile,
    "cdc mark": mark,
    "doctor": doctor,
}


def test_each_command_that_uses_kafka_needs_only_the_permissions_of_its_row(broker):
    """With only the permissions in its row of the table, each command can do its work in Kafka."""
    assert ROWS.keys() == DONE.keys()
    settings = Settings.from_env(broker.environment("plain")).kafka
    for command, run in DONE.items():
        grant(broker, ROWS[command])
        run(settings)


def test_doctor_names_each_topic_that_it_is_not_allowed_to_describe(broker):
    """If the user may not describe the topics, the doctor reports an authorization failure for each topic."""
    settings = Settings.from_env(broker.environment("plain")).kafka
    grant(broker, [re.sub("`DescribeTopic`", "", cell) for cell in ROWS["doctor"]])
    found = findings(settings)
    refused = [one.fact for one in found if one.status is Status.FAIL]
    assert [fact.partition(":")[0] for fact in refused] == [f"topic {name}" for name in dict.fromkeys(TOPICS.values())]
    assert all("authorization failed" in fact.lower() for fact in refused), refused


@pytest.mark.parametrize("without", ["DescribeGroup", "ReadData", "DescribeTopic"])
def test_show_needs_each_permission_of_its_row(broker, without):
    """Without one of its permissions, `payctl show` cannot read the topic."""
    settings = Settings.from_env(broker.environment("plain")).kafka
    implied = {"DescribeTopic": ("DescribeTopic", "ReadData")}.get(without, (without,))  # Read implies Describe
    grant(broker, [re.sub("|".join(f"`{word}`" for word in implied), "", cell) for cell in ROWS["show"]])
    with pytest.raises(ConfigError, match="does not allow reading"):
        show(settings)


def test_the_operator_s_policy_has_every_permission_of_the_table():
    """The two policies of the page allow an operator to run each command."""
    first, second = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    granted = {}
    for one in [*first["Statement"], *second]:
        kind = one["Resource"].split(":")[5].partition("/")[0]
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        granted.setdefault(kind, set()).update(each.removeprefix("kafka-cluster:") for each in actions)
    needed = {"cluster": {"Connect"}, "topic": set(), "group": set()}
    for cells in ROWS.values():
        for kind, cell in zip(needed, cells, strict=True):
            needed[kind].update(re.findall(r"`([A-Z]\w+)`", cell))
    assert granted == needed
    groups = [name for cells in ROWS.values() for name in re.findall(r"`([a-z-]+)`", cells[2])]
    assert len(groups) == 3
    assert all(name.startswith("payctl-") for name in groups)
