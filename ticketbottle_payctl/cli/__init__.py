"""Implement the command line.

Each command parses its options, calls one job, prints the report, and exits with the exit code.
"""
