"""Contain the SQL on the payment service's ``outbox`` table."""
