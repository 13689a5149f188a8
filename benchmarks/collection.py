"""What a collection costs: ``python -m benchmarks.collection [--values N] [--url URL]``.

A generated repository (1,000,000 small values: each call of one task has an argument and a result of its
own, a thousand calls to an execution) is collected, half of its executions kept. Wall and CPU seconds of
this process, and its memory at most.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Any

from valuestore import Repository
from valuestore.db.record.rows import eval_hash
from valuestore.hashing import Digest

CALLS_OF_AN_EXECUTION = 1000


def main() -> int:
    """Generate, collect, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--url", default="", help="database URL; default: a SQLite file")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Repository.open(folder, database=given.url or None) as repository,
    ):
        executions = generate(repository, given.values // 2)
        wall, cpu = time.perf_counter(), time.process_time()
        report = repository.gc(keep_last=executions // 2, dry_run=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    gone = report.freed["values"].count
    print(
        f"{given.values:,} values, {gone:,} collected: {wall:.1f} s, {cpu:.1f} s of CPU, {peak} MiB at most"
    )
    return 0


def generate(repository: Repository, calls: int) -> int:
    """Fill the repository; how many executions there are."""
    executions = max(2, calls // CALLS_OF_AN_EXECUTION)
    task, numbers = _hash("task"), range(calls)
    _insert(repository, "task", [(1, task, "bench.call", "1", "", None)])
    _insert(
        repository,
        "execution",
        ((n + 1, f"{n:032x}", "bench", "done", n, n, n, None, None) for n in range(executions)),
    )
    _insert(
        repository,
        "value",
        ((_hash("value", n), "builtins.bytes", "bytes", None, 100, b"x" * 100, "") for n in range(2 * calls)),
    )
    given = [_hash("args", n) for n in numbers]
    _insert(repository, "argument", ((given[n], 0, "x", _hash("value", 2 * n)) for n in numbers))
    gave = [_hash("value", 2 * n + 1) for n in numbers]
    whole = (None, None, True, None, None, None)
    _insert(
        repository, "call_node", ((n + 1, _hash("call", n), 1, given[n], gave[n], *whole) for n in numbers)
    )
    rest = (None, None, None, None, None)
    _insert(
        repository,
        "job",
        (
            (
                f"{n:032x}",
                n * executions // calls + 1,
                None,
                1,
                _hash("call", n),
                None,
                "done",
                n,
                n + 5,
                *rest,
            )
            for n in numbers
        ),
    )
    keys = (eval_hash(Digest(task), args, repository.algorithm) for args in given)
    _insert(repository, "evaluation", ((key, "", gave[n], None) for n, key in enumerate(keys)))
    return executions


def _hash(kind: str, number: int = 0) -> Digest:
    return Digest(hashlib.blake2b(f"{kind} {number}".encode(), digest_size=16).hexdigest())


def _insert(repository: Repository, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    database = repository.database
    with database.write(is_bounded=False) as connection:
        driver: Any = connection.connection.driver_connection
        if database.is_sqlite:
            width = len(driver.execute(f"PRAGMA table_info({table})").fetchall())
            driver.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", rows)
            return
        with driver.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


if __name__ == "__main__":
    sys.exit(main())
