"""Run all SQL. Functions get an open connection and never commit.

Their docstrings describe the conditions in the SQL.
"""
