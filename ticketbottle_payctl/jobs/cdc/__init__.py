"""Let Debezium publish the outbox, and take it back. No event is lost and none is sent twice.

docs/explanation/scale.md shows the steps. ``config`` prints what to set up, ``cut_over`` hands the outbox over,
``mark`` marks what Debezium has sent, and ``cut_back`` takes the outbox back.
"""
