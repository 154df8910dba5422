"""Contain all SQL. A function gets an open connection and never commits. Its docstring names its statements' guards."""
