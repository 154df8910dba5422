"""Contain all SQL. Functions get an open connection and never commit. Their docstrings say what the SQL checks."""
