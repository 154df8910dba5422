"""Let Debezium publish the outbox, and take it back: no event lost, none sent twice (docs/scale.md).

``config`` says what to set up, ``cut_over`` hands the outbox over, ``mark`` keeps its rows true meanwhile,
``cut_back`` takes it back.
"""
