"""What deep, wide and shared expressions cost: ``python -m benchmarks.expressions [--calls N] [--only ...]``.

A body returns an expression of so many calls; it runs cold, then again in a new scheduler on the same
repository, where it is replayed, and once more where replays are made to fail, so that it is walked. For each
shape and two sizes, one a tenth of the other: calls of the cold and of the walked run, microseconds of CPU
time per call, bytes of memory per waiting call, and bytes of the stored expression per call. But for the
replay, which is one lookup, the two sizes should cost the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import text

from valuestore import Repository, Scheduler, get_type_registry, task
from valuestore.scheduler.job import Job
from valuestore.tasks.call import Call
from valuestore.tasks.options import Options


@task(version="1", namespace="benchmarks")
def load(i: int) -> int:
    """A leaf."""
    return i


@task(version="1", namespace="benchmarks")
def add(x: int, y: int) -> int:
    """Of two."""
    return (x + y) % 1_000_003


@task(version="1", namespace="benchmarks")
def table(parts: list[int]) -> int:
    """Of many."""
    return sum(parts)


def wide(calls: int) -> Any:
    """Calls that have nothing to do with each other."""
    return [load(i) for i in range(calls)]


def deep(calls: int) -> Any:
    """Each call is given the one before it."""
    last = load(0)
    for i in range(calls - 1):
        last = add(last, i)
    return last


def star(calls: int) -> Any:
    """Half of the calls are given one that is given the other half."""
    one = table([load(i) for i in range(calls // 2)])
    return [add(one, k) for k in range(calls // 2)]


def doubled(calls: int) -> Any:
    """Each call is given the one before it twice."""
    last = load(1)
    for _ in range(calls - 1):
        last = add(last, last)
    return last


SHAPES = {"wide": wide, "deep": deep, "star": star, "doubled": doubled}


@task(version="1", namespace="benchmarks")
def give(shape: str, calls: int) -> Any:
    """The expression, to be run in its place."""
    return SHAPES[shape](calls)


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--only", choices=SHAPES, nargs="*", default=[*SHAPES])
    given = parser.parse_args()
    found = RichTable(
        *("shape", "calls", "calls cold", "walked", "CPU us cold", "walked", "replayed"),
        *("bytes waiting", "bytes stored"),
    )
    for shape in given.only:
        for calls in (given.calls // 10, given.calls):
            found.add_row(shape, f"{calls:,}", *measure(shape, calls))
    Console(width=None if sys.stdout.isatty() else 120).print(found)
    return 0


def measure(shape: str, calls: int) -> list[str]:
    """A row."""
    with tempfile.TemporaryDirectory() as folder:
        cold, replayed = run(folder, shape, calls), run(folder, shape, calls)
        with Repository.open(folder) as repository, repository.database.write() as connection:
            connection.execute(text("UPDATE call_node SET checksum = NULL"))
        runs = [cold, run(folder, shape, calls), replayed]
    jobs = [f"{count:,}" for count, _ in runs[:2]]
    seconds = [f"{1e6 * spent / count:.0f}" for count, spent in runs]
    expression = SHAPES[shape](calls)
    stored = len(get_type_registry().dump(expression).data) / calls
    return [*jobs, *seconds, f"{waiting(shape, calls):.0f}", f"{stored:.0f}"]


def run(folder: str, shape: str, calls: int) -> tuple[int, float]:
    """How many calls it had, and seconds of CPU time."""
    began = time.process_time()
    with Repository.open(folder) as repository, Scheduler(repository) as scheduler:
        scheduler.run(give(shape, calls))
        assert scheduler.execution is not None
        counts = scheduler.execution.counts
    return counts.done + counts.cached, time.process_time() - began


def waiting(shape: str, calls: int) -> float:
    """Bytes per call, of the expression and of its jobs before any has begun."""
    tracemalloc.start()
    rows, _ = get_type_registry().rows_of(SHAPES[shape](calls))
    jobs = [Job(row, None, None, Options()) for row in rows if isinstance(row, Call)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(jobs)


if __name__ == "__main__":
    sys.exit(main())
