"""Start one node of Apache Kafka on loopback. Broker and controller run in one JVM, from Maven's jars."""

from __future__ import annotations

from tests.servers.apache_kafka.broker import ApacheKafka

__all__ = ["ApacheKafka"]
