"""Measure payctl's speed and cost. The results are relative to limits and peers that are measured in the same run.

Run ``python -m benchmarks`` or ``make bench``. README.md in this directory explains how each figure is measured.
"""
