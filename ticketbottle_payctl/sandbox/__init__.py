"""A local world for the demo, the tests and the benchmarks: PostgreSQL, Kafka and the payment service's tables.

Servers listen on 127.0.0.1 only and do not outlive the process that started them. Nothing here runs in production.
"""
