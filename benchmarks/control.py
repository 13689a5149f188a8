"""What control flow costs: ``python -m benchmarks.control [--calls N]``.

The same calls, by themselves, each given to an ordinary task that hands it on, and under control flow. Cold,
then again in a new scheduler on the same repository, by one call that is replayed; last, by another call, so
that each part is looked up. Microseconds of CPU time for each call, beyond the plain ones, as a ratio
to what an ordinary task costs beyond them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from valuestore import Repository, Scheduler, catch, cond, identity, map_, seq, task


@task(version="1", namespace="benchmarks.control")
def load(i: int) -> int:
    """A leaf."""
    return i


@task(version="1", namespace="benchmarks.control")
def handed_on(value: int) -> int:
    """What control flow is compared with."""
    return value


@task(version="1", namespace="benchmarks.control")
def recovered(_error: ValueError) -> int:
    """Never called."""
    return 0


SHAPES: dict[str, Any] = {
    "plain": lambda n: [load(i) for i in range(n)],
    "a task": lambda n: [handed_on(load(i)) for i in range(n)],
    "cond": lambda n: [cond(True, load(i), 0) for i in range(n)],
    "catch": lambda n: [catch(load(i), ValueError, recovered) for i in range(n)],
    "identity": lambda n: [identity(load(i)) for i in range(n)],
    "one seq": lambda n: seq([load(i) for i in range(n)]),
    "one map_": lambda n: map_(load, list(range(n))),
}


@task(version="1", namespace="benchmarks.control")
def give(shape: str, calls: int, times: int) -> Any:
    """The expression, to be run in its place: another call for other ``times``."""
    return [SHAPES[shape](calls)] * times


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000)
    calls = parser.parse_args().calls
    spent = {shape: measure(shape, calls) for shape in SHAPES}
    found = RichTable("", "us cold", "replayed", "looked up", "cold, of a task's", "looked up, of a task's")
    for shape, times in spent.items():
        ratios = ["", ""]
        if shape not in ("plain", "a task"):
            ratios = [f"{ratio(spent, shape, number):.2f}" for number in (0, 2)]
        found.add_row(shape, *[f"{1e6 * each / calls:.0f}" for each in times], *ratios)
    Console(width=None if sys.stdout.isatty() else 120).print(found)
    return 0


def ratio(spent: dict[str, list[float]], shape: str, number: int) -> float:
    """What a shape costs beyond plain calls, to what a task costs beyond them."""
    plain = spent["plain"][number]
    return (spent[shape][number] - plain) / (spent["a task"][number] - plain)


def measure(shape: str, calls: int) -> list[float]:
    """Seconds of CPU time: cold, again, and looked up part by part."""
    with tempfile.TemporaryDirectory() as folder:
        return [run(folder, shape, calls, times) for times in (1, 1, 2)]


def run(folder: str, shape: str, calls: int, times: int) -> float:
    """Seconds of CPU time."""
    began = time.process_time()
    with Repository.open(folder) as repository, Scheduler(repository) as scheduler:
        scheduler.run(give(shape, calls, times))
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
