"""Measure what payctl costs and reaches, as ratios to limits and to peers in the same run.

Start it with ``python -m benchmarks`` or ``make bench``. README.md in this folder says how each figure is measured.
"""
