"""Run other programs that do the same work as payctl.

Each program has its own environment, which is created on first use.
"""
