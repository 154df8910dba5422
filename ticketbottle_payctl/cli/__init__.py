"""Implement the command line.

Each command parses its options, calls one job, prints the result, and exits with an exit code.
"""
