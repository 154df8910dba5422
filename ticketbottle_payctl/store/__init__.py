"""Run all SQL. Functions use an open connection and never commit.

Their docstrings describe the conditions in the SQL.
"""
