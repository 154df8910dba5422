"""Compute a key's partition in the same way as Kafka's Java client, kafkajs and librdkafka's ``murmur2_random``.

Source: Kafka's ``Utils.murmur2`` and ``BuiltInPartitioner.partitionForKey`` (32-bit murmur2, seed 0x9747b28c, the sign
bit cleared, modulo the number of partitions).
"""

from __future__ import annotations

_SEED = 0x9747B28C
_M = 0x5BD1E995
_R = 24
_WORD = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition for a message with this key, a number from 0 to ``partitions`` - 1."""
    return (_murmur2(key) & _POSITIVE) % partitions


def possible_partitions(key: bytes, partitions: int, *, at_least: int = 1) -> list[int]:
    """Return the partitions that may contain a message with this key, starting with the current one.

    The topic had at least ``at_least`` partitions when the message was sent, and has ``partitions`` now.
    """
    number = _murmur2(key) & _POSITIVE
    return list(dict.fromkeys(number % count for count in range(partitions, max(at_least, 1) - 1, -1)))


def _murmur2(data: bytes) -> int:
    length = len(data)
    whole = length - length % 4
    value = (_SEED ^ length) & _WORD
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        word = (word ^ (word >> _R)) * _M & _WORD
        value = (value * _M & _WORD) ^ word
    if length > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _M & _WORD
    value = (value ^ (value >> 13)) * _M & _WORD
    return value ^ (value >> 15)
