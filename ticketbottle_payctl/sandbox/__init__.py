"""Provide local servers for PostgreSQL and Kafka, and the payment service's tables.

The demo, the tests and the benchmarks use this package. Servers listen only on 127.0.0.1, and stop when the process
that started them ends. The code in this package never runs in production.
"""
