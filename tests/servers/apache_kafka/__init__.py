"""Start one node of Apache Kafka on loopback.

The broker and the controller run in one JVM, from jars that Maven downloads.
"""

from __future__ import annotations

from tests.servers.apache_kafka.broker import ApacheKafka

__all__ = ["ApacheKafka"]
