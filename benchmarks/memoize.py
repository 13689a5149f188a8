"""What a remembered call costs: ``python -m benchmarks.memoize [--calls N] [--rounds N]``.

The same function under ``memoize``, under joblib.Memory and as a task that is run, in turns in one process.
Every call is a hit. Microseconds of CPU time, medians of the rounds, and joblib's as a ratio to memoize's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
from rich.console import Console
from rich.table import Table as RichTable

from valuestore import Scheduler, task

ROW = {"name": "Ada", "born": 1815, "tags": ["poet", "engine"], "score": 0.5}
GIVEN: dict[str, tuple[Any, ...]] = {
    "a number": (7,),
    "a text": ("to be or not to be",),
    "a dict": (ROW,),
    "1,000 numbers": (list(range(1000)),),
    "100 dicts": ([{**ROW, "born": year} for year in range(100)],),
}


def echo(value: Any) -> Any:
    """The result is as large as the argument."""
    return value


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    found = RichTable("us of CPU per hit", "memoize", "joblib.Memory", "Scheduler.run", "joblib's")
    with tempfile.TemporaryDirectory() as folder, Scheduler(f"{folder}/ours") as scheduler:
        known: dict[str, Callable[..., Any]] = {
            "memoize": scheduler.repository.memoize(echo),
            "joblib": joblib.Memory(f"{folder}/theirs", verbose=0).cache(echo),
            "run": partial(_run, scheduler, task(echo)),
        }
        for name, arguments in GIVEN.items():
            spent = measure(known, arguments, given.calls, given.rounds)
            shown = [f"{spent[each]:.0f}" for each in known]
            found.add_row(name, *shown, f"{spent['joblib'] / spent['memoize']:.1f}")
    Console(width=None if sys.stdout.isatty() else 120).print(found)
    return 0


def _run(scheduler: Scheduler, known: Any, *arguments: Any) -> Any:
    return scheduler.run(known(*arguments))


def measure(
    known: dict[str, Callable[..., Any]], arguments: tuple[Any, ...], calls: int, rounds: int
) -> dict[str, float]:
    """Microseconds of CPU time for each call, in turns. Raises: AssertionError for a wrong value."""
    samples: dict[str, list[float]] = {name: [] for name in known}
    for function in known.values():
        assert function(*arguments) == arguments[0]
    for _ in range(rounds):
        for name, function in known.items():
            times = calls if name != "run" else max(calls // 20, 1)  # each is an execution that is recorded
            began = time.process_time()
            for _ in range(times):
                value = function(*arguments)
            samples[name].append(1e6 * (time.process_time() - began) / times)
            assert value == arguments[0]
    return {name: statistics.median(taken) for name, taken in samples.items()}


if __name__ == "__main__":
    sys.exit(main())
