"""Many jobs: a list of calls, their results in groups, and one result of all; a rerun costs what changed.

valuestore run examples/redun/many_jobs.py main --jobs 1000
"""

from __future__ import annotations

from valuestore import task

GROUP = 50


@task
def job(number: int) -> int:
    return number * number % 97


@task
def largest(results: list[int]) -> int:
    return max(results)


@task
def main(jobs: int = 300) -> list[int]:
    """The largest result of each group of jobs."""
    return [largest([job(n) for n in range(start, start + GROUP)]) for start in range(0, jobs, GROUP)]
