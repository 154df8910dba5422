"""Hand the outbox over to Debezium, and take it back. Events are neither lost nor sent twice.

docs/explanation/scale.md describes the steps for an operator.

``config`` generates Debezium's configuration. ``cut_over`` hands the outbox over to Debezium. ``mark`` marks the events
that Debezium has sent. ``cut_back`` takes the outbox back.
"""
