"""Contain the SQL on payctl's own tables for receipts and runs."""
