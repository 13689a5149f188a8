"""Recording: processor time of the recorder, commits and bytes per job, on SQLite and on Postgres.

    python -m benchmarks.metadata [--jobs 10000] [--rounds 3]

Both databases record the same fan-out, in turn, and so does SQLite alone through ``executemany`` of as many
narrow rows: the floor. Times are processor time of the thread that writes; only their ratios carry over to
another machine.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.servers import PostgresServer
from valuestore import Repository, Scheduler, task


@task(version="1")
def leaf(x: int) -> int:
    """One tiny task."""
    return x * x


@task(version="1")
def total(xs: list[int]) -> int:
    """The task that needs all of them."""
    return sum(xs)


class Writes:
    """Counts the transactions of a repository's recorder and the processor time they take."""

    def __init__(self, repository: Repository) -> None:
        self.seconds = 0.0
        self.commits = 0
        self._change = repository.database.change
        repository.database.change = self.change  # type: ignore[method-assign]  # measured here alone

    def change(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """The real one, timed."""
        started = time.thread_time()
        try:
            return self._change(work, **options)
        finally:
            self.seconds += time.thread_time() - started
            self.commits += 1


def record(folder: str, jobs: int, database: str = "") -> tuple[float, int]:
    """Milliseconds of the writing thread per job, and commits."""
    with Repository.open(folder, database=database) as repository, Scheduler(repository) as scheduler:
        writes = Writes(repository)
        scheduler.run(total([leaf(x) for x in range(jobs)]))
        repository.flush()
        return 1000 * writes.seconds / jobs, writes.commits


def floor(folder: str, jobs: int) -> float:
    """Milliseconds per job of writing its rows as one narrow table, in batches of 1000 jobs."""
    connection = sqlite3.connect(os.path.join(folder, "floor.db"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE row (key TEXT PRIMARY KEY, a TEXT, b TEXT) WITHOUT ROWID")
    started = time.thread_time()
    for start in range(0, jobs, 1000):
        rows = [(f"{n:032x}", "a" * 32, "b" * 32) for n in range(start * 8, (start + 1000) * 8)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO row VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
        connection.execute("COMMIT")
    seconds = time.thread_time() - started
    connection.close()
    return 1000 * seconds / jobs


def sizes(folder: str, jobs: int) -> tuple[float, float]:
    """Bytes of the SQLite file per job that ran, and per job that was answered from the cache."""
    taken = []
    for _ in range(2):
        record(folder, jobs)
        taken.append(os.path.getsize(os.path.join(folder, ".valuestore", "valuestore.db")))
    return taken[0] / jobs, (taken[1] - taken[0]) / jobs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {"floor": [], "sqlite": [], "postgres": []}
    commits = 0
    with PostgresServer() as server, tempfile.TemporaryDirectory() as root:
        for number in range(arguments.rounds):
            folders = [os.path.join(root, f"{name}{number}") for name in ("floor", "sqlite", "postgres")]
            for folder in folders:
                os.mkdir(folder)
            found["floor"].append(floor(folders[0], arguments.jobs))
            milliseconds, commits = record(folders[1], arguments.jobs)
            found["sqlite"].append(milliseconds)
            with server.database() as url:
                found["postgres"].append(record(folders[2], arguments.jobs, url)[0])
        cold, cached = sizes(os.path.join(root, "sqlite0", "again"), arguments.jobs)
    median = {name: statistics.median(times) for name, times in found.items()}
    print(f"recorder on SQLite    {median['sqlite']:.3f} ms of processor time per job, {commits} commits")
    print(f"  against the floor   {median['sqlite'] / median['floor']:.1f} times (8 narrow rows per job)")
    print(f"recorder on Postgres  {median['postgres'] / median['sqlite']:.1f} times SQLite")
    print(f"database              {cold:.0f} bytes per job that ran, {cached:.0f} per cached job")


if __name__ == "__main__":
    main()
