"""Let Debezium publish the outbox, or take it back. No event is lost and none is sent twice.

docs/explanation/scale.md shows the steps.

``config`` prints Debezium's configuration, ``cut_over`` hands the outbox over to Debezium, ``mark`` marks the events
that Debezium has sent, and ``cut_back`` takes the outbox back.
"""
