"""Limits: jobs that share something scarce wait for each other, all others do not.

    valuestore run examples/redun/limited.py main

with ``[limits] db = 2`` in ``.valuestore/valuestore.toml``. How a task is run is said by options, of the task
or of a call, and is no part of what it computes: another limit or number of retries runs no query again.
"""

from __future__ import annotations

import time

from valuestore import task

QUERIES = 6
SECONDS = 0.05
FACTOR = 10


@task(version="1", limits={"db": 1})
def query(number: int) -> int:
    time.sleep(SECONDS)
    return number * number


@task(version="1", retry_wait_seconds=0.01)
def flaky(path: str) -> str:
    """Fails the first time: the server that it asks is only about to start."""
    try:
        with open(path, "x") as started:
            started.write("started")
    except FileExistsError:
        return "answered"
    raise ConnectionRefusedError(path)


@task
def scaled(numbers: list[int]) -> list[int]:
    return [FACTOR * number for number in numbers]


@task
def main() -> dict[str, object]:
    """Queries of which only so many run at once, and a question that is asked again."""
    return {
        "numbers": scaled([query(number) for number in range(QUERIES)]),
        "answer": flaky.options(retries=2)("started.txt"),
    }
