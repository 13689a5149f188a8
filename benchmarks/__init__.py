"""Benchmarks: the same work on valuestore and its peers, each in a fresh process, as ratios of CPU time.

``python -m benchmarks`` (or ``make bench``) runs them; README.md says what is measured and how to read it.
"""
