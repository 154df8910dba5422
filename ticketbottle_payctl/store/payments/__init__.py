"""Contain the SQL on the payment service's ``payments`` table."""
