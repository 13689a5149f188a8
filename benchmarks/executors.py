"""What executors cost beside their peers': ``python -m benchmarks.executors [--only NAME ...] [--rounds N]``.

``processes``  tasks of a millisecond, beside loky's own ``executor.map(chunksize=1)``
``dask``       tiny tasks, beside ``client.map`` and ``gather`` on the same cluster
``cpu``        pure Python on two processors, beside the same on threads
``memory``     20 results of 50 MB, each given to another task: the most that the scheduler's process holds

The two of a pair take turns; ratios of wall times, since work in other processes is what is compared.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from valuestore import Scheduler, task

Round = Callable[[], float]


def burn(n: int) -> int:
    """A millisecond of a processor."""
    end = time.perf_counter() + 0.001
    while time.perf_counter() < end:
        pass
    return n


def add_one(n: int) -> int:
    """As good as nothing."""
    return n + 1


@task(namespace="benchmarks.executors", version="1")
def burned(n: int) -> int:
    """The same as a task."""
    return burn(n)


@task(namespace="benchmarks.executors", version="1")
def added(n: int) -> int:
    """The same as a task."""
    return add_one(n)


@task(namespace="benchmarks.executors", version="1")
def counted(n: int, seed: int) -> int:
    """A tenth of a second of pure Python."""
    for _ in range(1_000_000):
        n = (n * 31 + seed) % 1_000_003
    return n


@task(namespace="benchmarks.executors", version="1")
def large(n: int) -> bytes:
    """50 MB, others for each ``n``."""
    return bytes([n]) * 50_000_000


@task(namespace="benchmarks.executors", version="1")
def size(data: bytes) -> int:
    """What is left of them."""
    return len(data)


def seconds(run: Callable[[], Any]) -> float:
    """Wall time."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def cold(executor: str | Executor, calls: Callable[[], Any], warm: Any) -> float:
    """Wall time of a run in a new repository, its workers started before."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Scheduler(folder, executor=executor, workers=2) as scheduler,
    ):
        scheduler.run(warm)
        return seconds(lambda: scheduler.run(calls()))


@contextmanager
def processes(number: int) -> Iterator[tuple[Round, Round]]:
    """Ours and loky's."""
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        list(pool.map(abs, range(4)))

        def ours() -> float:
            warm = [burned(-1), burned(-2)]
            return cold("processes", lambda: [burned(n) for n in range(number)], warm)

        yield ours, lambda: seconds(lambda: list(pool.map(burn, range(number), chunksize=1)))


@contextmanager
def dask(number: int) -> Iterator[tuple[Round, Round]]:
    """Ours and Dask's, on one cluster."""
    from valuestore.executors.dask import open_dask

    executor = open_dask(2)
    client = executor.client
    client.gather(client.map(add_one, range(100), pure=False))

    def ours() -> float:
        return cold(executor, lambda: [added(n) for n in range(number)], [added(-1), added(-2)])

    def theirs() -> float:
        return seconds(lambda: client.gather(client.map(add_one, range(number), pure=False)))

    try:
        yield ours, theirs
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def cpu(number: int) -> Iterator[tuple[Round, Round]]:
    """On threads, and in processes: the ratio is how much faster these are."""

    def on(executor: str) -> Round:
        return lambda: cold(
            executor, lambda: [counted(n, 7) for n in range(number)], [counted(-1, 7), counted(-2, 7)]
        )

    yield on("threads"), on("processes")


PAIRS = {"processes": (processes, 10_000), "dask": (dask, 2_000), "cpu": (cpu, 40)}


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*PAIRS, "memory"], default=[*PAIRS, "memory"])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name in given.only:
        if name == "memory":
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            took = cold("processes", lambda: [size(large(n)) for n in range(20)], [size(large(100))])
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            console.print(f"memory: {most / 1024:.0f} MiB at most, {before / 1024:.0f} before; {took:.1f} s")
            continue
        make, number = PAIRS[name]
        with make(number) as (ours, theirs):
            pairs = [(ours(), theirs()) for _ in range(given.rounds)]
        ratios = sorted(one / other for one, other in pairs)
        each = " ".join(f"{one:.2f}/{other:.2f}" for one, other in pairs)
        median = statistics.median(ratios)
        console.print(
            f"{name}, {number:,}: {median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); seconds {each}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
