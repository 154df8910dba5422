"""Measure payctl's speed and cost, as ratios to limits and to peers that are measured in the same run.

Run ``python -m benchmarks`` or ``make bench``. README.md in this directory says how each figure is measured.
"""
