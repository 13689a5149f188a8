"""What leases cost a run that nobody disturbs: ``python -m benchmarks.once [--calls N] [--rounds N]``.

The same calls, all of them new, with ``once`` and without, each in a new repository and in turns: at once (a
lease is taken with many others), and each given what the one before gave (each takes its own). Then again,
cached. Medians of microseconds of CPU time for each call, user and system, all threads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from valuestore import Scheduler, task


@task(version="1", namespace="benchmarks.once")
def successor(x: int) -> int:
    """A body that costs nothing."""
    return x + 1


def at_once(calls: int) -> Any:
    """Calls that are ready together."""
    return [successor(i) for i in range(calls)]


def in_turn(calls: int) -> Any:
    """Calls of which each waits for the one before."""
    expression: Any = 0
    for _ in range(calls):
        expression = successor(expression)
    return expression


SHAPES = {"at once": at_once, "in turn": in_turn}


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--database", help="URL of a Postgres database that is there for this; default: SQLite"
    )
    given = parser.parse_args()
    found = RichTable("", "us new", "with leases", "more", "us cached", "with leases")
    for name, shape in SHAPES.items():
        spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for number in range(given.rounds):
            for once in (False, True) if number % 2 else (True, False):
                spent[once].append(measure(shape(given.calls), once, given.calls))
        (new, cached), (new_once, cached_once) = (
            [statistics.median(each) for each in zip(*spent[once], strict=True)] for once in (False, True)
        )
        more = [statistics.median(b - a for (a, _), (b, _) in zip(*spent.values(), strict=True))]
        found.add_row(name, *[f"{each:.1f}" for each in (new, new_once, *more, cached, cached_once)])
    Console(width=None if sys.stdout.isatty() else 120).print(found)
    return 0


def measure(expression: Any, once: bool, calls: int) -> tuple[float, float]:
    """Microseconds of CPU for each call, new and cached."""
    with tempfile.TemporaryDirectory() as folder:
        return run(folder, expression, once, calls), run(folder, expression, once, calls)


def run(folder: str, expression: Any, once: bool, calls: int) -> float:
    """The same of one run."""
    began = time.process_time()
    with Scheduler(folder, workers=2, once=once) as scheduler:
        scheduler.run(expression)
    return 1e6 * (time.process_time() - began) / calls


if __name__ == "__main__":
    sys.exit(main())
