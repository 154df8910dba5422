"""What payctl costs and what it reaches, as ratios to limits and to peers measured in the same run.

``python -m benchmarks`` or ``make bench``; README.md beside this file says how each figure is taken.
"""
