"""What questions to a long history cost: ``python -m benchmarks.history [--jobs N] [--url URL]``.

A generated repository (120,000 jobs in 1,000 executions, if nothing else is said) is asked through the
public interface, warm. For each question: median milliseconds of wall and of CPU time, and statements.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import text

from tests.statements import StatementCounter
from valuestore import Repository
from valuestore.db.schema import tables as schema
from valuestore.hashing import hash_bytes

CHAIN = 10
TASKS = 20
VERSIONS = 3
FIRST_MICROSECOND = 1_700_000_000_000_000
_BATCH = 20_000
_COUNTS = (
    "INSERT INTO task_count SELECT task_no, status, 0, count(*), sum(ended - started) FROM job "
    "GROUP BY task_no, status"
)


def main() -> int:
    """Generate, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=120_000)
    parser.add_argument("--executions", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--url", default="", help="database URL; default: a SQLite file")
    parser.add_argument("--keep", type=Path, help="folder of the repository, reused if it is there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        with Repository.open(folder, database=given.url or None) as repository:
            if repository.history.executions().first() is None:
                generate(repository, given.jobs, given.executions)
            rows = measure(repository, given.repeat)
    table = RichTable("question", "wall ms", "cpu ms", "statements", "records")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


def measure(repository: Repository, repeat: int) -> list[tuple[str, ...]]:
    """A row for each question."""
    rows: list[tuple[str, ...]] = []
    for name, ask in questions(repository).items():
        records = len(ask())
        ask()
        with StatementCounter(repository.database) as counter:
            ask()
        walls, cpus = [], []
        for _ in range(repeat):
            wall, cpu = time.perf_counter(), time.process_time()
            ask()
            cpus.append(1e3 * (time.process_time() - cpu))
            walls.append(1e3 * (time.perf_counter() - wall))
        medians = f"{statistics.median(walls):.2f}", f"{statistics.median(cpus):.2f}"
        rows.append((name, *medians, str(len(counter.statements)), str(records)))
    return rows


def questions(repository: Repository) -> dict[str, Callable[[], Any]]:
    """What is asked, each as one call."""
    history = repository.history
    deep = history.record(digest("call", _middle(repository), 0, CHAIN - 1))
    some_job = history.jobs().where(status="done").limit(500).all()[-1]
    path = f"data/{_middle(repository)}/0.csv"
    return {
        "newest 20 executions": lambda: history.executions().page(size=20).records,
        "jobs of a task": lambda: history.jobs().where(task="bench.step3").page(size=20).records,
        "jobs of a version": lambda: history.jobs().where(task="bench.rare").page(size=20).records,
        "executions of a task": lambda: history.executions().where(task="bench.step3").page(size=20).records,
        "executions by tag": lambda: history.executions().where(tag="project=p3").page(size=20).records,
        "executions by any value": lambda: history.executions().where(tag="user").page(size=20).records,
        "jobs by tag": lambda: history.jobs().where(tag="quality=3").page(size=20).records,
        "id prefix": lambda: history.find(some_job.job_id[:16]),
        "job by id prefix": lambda: history.jobs().where(id=some_job.job_id[:16]).page(size=20).records,
        "failed jobs": lambda: history.jobs().where(status="failed").page(size=20).records,
        "failed jobs of a task": lambda: (
            history.jobs().where(status="failed", task="bench.step3").page(size=20).records
        ),
        "files by exact path": lambda: history.files().where(path=path).page(size=20).records,
        "files by path prefix": lambda: history.files().where(path="data/77/*").page(size=20).records,
        "calls by exact path": lambda: history.calls().where(file=path).page(size=20).records,
        "done jobs by exact path": lambda: (
            history.jobs().where(file=path, status="done").page(size=20).records
        ),
        "all jobs by exact path": lambda: history.jobs().where(file=path).page(size=20).records,
        "executions by exact path": lambda: history.executions().where(file=path).page(size=20).records,
        "upstream, ten deep": lambda: history.upstream(deep).edges,
        "downstream of a file": lambda: history.downstream(history.files().where(path=path).one()).edges,
        "a page of 100 jobs": lambda: history.jobs().page(size=100).records,
        "slowest jobs": lambda: history.jobs().where(status="done").order("slowest").page(size=20).records,
        "jobs by task and status": history.task_counts,
        "count of failed jobs": lambda: [history.jobs().where(status="failed").count()],
    }


def _middle(repository: Repository) -> int:
    """A chain that exists: each execution starts new ones."""
    return max(1, repository.history.executions().count() // 2)


# --- the generator ----------------------------------------------------------------------------------


def digest(*parts: object) -> str:
    """A digest for a made-up record."""
    return str(hash_bytes(repr(parts).encode()))


def job_id(microsecond: int, number: int) -> str:
    """An id in the form of UUIDv7."""
    return f"{microsecond // 1000:012x}7{number % 4096:03x}8{number:015x}"


class Generator:
    """Rows of a made-up history: executions with chains of calls, most of them reused by later ones."""

    def __init__(self, jobs: int, executions: int) -> None:
        self.random = random.Random(7)  # the same rows each time
        self.jobs, self.executions = jobs, executions
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            table.name: [] for table in schema.metadata.sorted_tables
        }
        self.job_number = 0
        self.call_number = 0

    def batches(self) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
        """The rows, in portions."""
        self._tasks()
        each = self.jobs // self.executions
        for number in range(1, self.executions + 1):
            self._execution(number, each + (self.jobs % self.executions if number == 1 else 0))
            if len(self.rows["job"]) >= _BATCH or number == self.executions:
                yield self.rows
                self.rows = {name: [] for name in self.rows}

    def _tasks(self) -> None:
        names = [f"bench.step{number}" for number in range(TASKS)]
        number = 0
        for name in names:
            for version in range(VERSIONS):
                number += 1
                source = f"def {name}(x):\n    return x + {version}"
                self.rows["task"].append((number, digest("task", number), name, None, source))
        for name in ("bench.main", "bench.rare"):
            number += 1
            self.rows["task"].append((number, digest("task", number), name, None, "def main(): ..."))
        self.main, self.rare = number - 1, number

    def _execution(self, number: int, jobs: int) -> None:
        start = FIRST_MICROSECOND + number * 60_000_000
        status = "failed" if number % 20 == 0 else "done"
        run_id = job_id(start, number)
        command = '["bench", "run"]'
        label = f"bench.main(n={number})"
        ended = start + 50_000_000
        self.rows["execution"].append((number, run_id, label, status, start, ended, ended, command))
        for key, value in (("project", f'"p{number % 50}"'), ("user", '"me"'), ("version", '"0.1.0"')):
            self._tag("execution", run_id, key, value, start)
        root = self._job(number, start, None, self.main, "failed" if status == "failed" else "done", None)
        made = 1
        chain = 0
        while made < jobs:
            cached = chain > 0 and number > 1 and self.random.random() < 0.6
            origin, which = (self.random.randrange(1, number), 0) if cached else (number, chain)
            for depth in range(min(CHAIN, jobs - made)):
                self._link(number, start, root, origin, which, depth, cached=cached)
                made += 1
            chain += 1
        if status == "failed":
            self._job(number, start, root, self.rare if number % 100 == 0 else 1, "failed", None)

    def _link(
        self, number: int, start: int, root: str, origin: int, which: int, depth: int, *, cached: bool
    ) -> None:
        call = digest("call", origin, which, depth)
        task = 1 + ((origin + which + depth) % TASKS) * VERSIONS + origin % VERSIONS
        status = "cached" if cached else "done"
        made = self._job(number, start, root, task, status, call)
        if self.random.random() < 0.002:
            self._tag("job", made, "quality", str(self.random.randrange(5)), start)
        if cached:
            return
        self.call_number += 1
        args, value = digest("args", origin, which, depth), digest("value", origin, which, depth)
        rows = self.rows
        rows["call_node"].append((self.call_number, call, task, args, value, None, None, True))
        rows["value"].append((value, "bench.Row", "plain", None, 40, b"x" * 40, f'{{"n":{origin}}}'))
        if depth == 0:
            file = digest("file", origin, which)
            preview = f'{{"path":"data/{origin}/{which}.csv"}}'
            rows["value"].append((file, "valuestore.File", "tagged", None, 60, b"f" * 60, preview))
            rows["file"].append((file, f"data/{origin}/{which}.csv", "File"))
            rows["argument"].append((args, 0, "file", file))
        else:
            rows["argument"].append((args, 0, "x", digest("value", origin, which, depth - 1)))
            rows["argument_source"].append((self.call_number, 0, self.call_number - 1))
        rows["argument"].append((args, 1, "scale", digest("scale", which)))

    def _job(
        self, number: int, start: int, parent: str | None, task: int, status: str, call: str | None
    ) -> str:
        self.job_number += 1
        made = start + self.job_number % 1000 * 1000
        made_id = job_id(made, self.job_number)
        error = "ValueError: no such row" if status == "failed" else None
        ended = made + self.random.randrange(1, 2_000_000)
        self.rows["job"].append(
            (made_id, number, parent, task, call, None, status, made, ended, error, error and "Traceback ...")
        )
        return made_id

    def _tag(self, entity: str, record_id: str, key: str, value: str, when: int) -> None:
        tag_id = job_id(when, len(self.rows["tag"]) + self.job_number)
        value_digest = hash_bytes(value.encode())
        self.rows["tag"].append((tag_id, entity, record_id, key, value, value_digest, "me", when, None, None))


def generate(repository: Repository, jobs: int, executions: int) -> None:
    """Fill an empty repository with so many jobs in so many executions."""
    for batch in Generator(jobs, executions).batches():
        with repository.database.write() as connection:
            for table in schema.metadata.sorted_tables:
                if batch[table.name]:
                    names = [column.name for column in table.columns]
                    rows = [dict(zip(names, row, strict=False)) for row in batch[table.name]]
                    connection.execute(table.insert(), rows)
    with repository.database.write() as connection:
        connection.execute(text(_COUNTS))
    if not repository.database.is_sqlite:
        with repository.database.write() as connection:
            connection.execute(text("ANALYZE"))


if __name__ == "__main__":
    sys.exit(main())
