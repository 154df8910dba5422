"""Implement payctl's jobs.

Each module or package has a public function that does one job and returns an immutable report.
"""
