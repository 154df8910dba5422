"""Provide a local PostgreSQL, Kafka and the payment service's tables for the demo, the tests and the benchmarks.

Servers listen on 127.0.0.1 only and end with the process that started them. No code of this package runs in production.
"""
