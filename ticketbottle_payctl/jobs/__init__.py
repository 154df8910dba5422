"""Implement payctl's jobs.

Each module or package has a public function that does a job and returns an immutable report.
"""
