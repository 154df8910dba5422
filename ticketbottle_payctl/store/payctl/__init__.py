"""Contain the SQL on payctl's own tables: receipts and runs."""
