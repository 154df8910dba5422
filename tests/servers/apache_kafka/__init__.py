"""Start one node of Apache Kafka on loopback, with broker and controller in one JVM, from Maven's jars."""

from __future__ import annotations

from tests.servers.apache_kafka.broker import ApacheKafka

__all__ = ["ApacheKafka"]
