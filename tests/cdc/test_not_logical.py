"""Test that a cut-over is refused if PostgreSQL's write-ahead log is not logical."""

import pytest

from ticketbottle_payctl.broker.config import connection_config, producer_config
from ticketbottle_payctl.broker.follower import Follower
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.jobs.cdc.cut_over import cdc_cut_over
from ticketbottle_payctl.settings import KafkaSettings
from ticketbottle_payctl.store.outbox.debezium_names import ALL_TOPICS, MARKING_GROUP
from ticketbottle_payctl.store.outbox.shard_lock import name_of


def test_a_cut_over_without_a_logical_log_is_refused(engine, mock_kafka):
    """Without a logical write-ahead log, the cut-over hands nothing over, and the hint in its error names wal_level.

    The cut-over is marked as ended.
    """
    settings = KafkaSettings(mock_kafka.bootstrap)
    producer = Producer(producer_config(settings))
    follower = Follower(connection_config(settings), MARKING_GROUP, ALL_TOPICS)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE PUBLICATION payctl_outbox FOR TABLE outbox WITH (publish = 'insert')")
    with pytest.raises(ConfigError, match="wal_level") as raised:
        cdc_cut_over(engine, producer, follower, max_retries=5, shards=1)
    assert "wal_level = logical" in raised.value.hint
    with engine.connect() as connection:
        (owner,) = connection.exec_driver_sql("SELECT owner FROM payctl.publishers").scalars()
    assert name_of(owner) == ("payctl cdc cut-over", True)
    producer.close()
    follower.close()
