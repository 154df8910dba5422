"""A local environment for the demo, the tests and the benchmarks: PostgreSQL, Kafka and the payment service's tables.

Servers listen on 127.0.0.1 only and end with the process that started them. Nothing here runs in production.
"""
