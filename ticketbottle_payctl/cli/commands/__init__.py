"""Implement each command in one file or package.

A command reads its options, calls one job and prints the job's result.
"""
