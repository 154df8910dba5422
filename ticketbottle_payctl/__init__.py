"""Everything between a gateway's callback and the Kafka message that becomes a ticket."""

__version__ = "0.2.0"
