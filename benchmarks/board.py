"""1,000 readers of a HistoryBoard on Redis, and 1,000 of SQL: ``python -m benchmarks.board``.

Each reads one page of the newest jobs, of failed ones, of one task's, and of executions, in four processes
with eight threads each, against the Postgres that the tests use. What counts is how much the database is
asked, beside the CPU of the readers; opening a repository is some of the transactions. Both find as much.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from tests.servers import PostgresServer, RedisServer
from valuestore import Repository, Scheduler, task
from valuestore.interop.board import HistoryBoard

READERS = 1000
PROCESSES = 4
JOBS = 3000


@task(namespace="board")
def work(number: int) -> int:
    """Fails now and then."""
    if number % 100 == 99:
        raise ValueError(number)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.board", description=__doc__)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--read", nargs=4, metavar=("KIND", "FOLDER", "URL", "COUNT"), help="be one of them")
    given = parser.parse_args()
    if given.read:
        _read(*given.read)
        return
    shown = Table("readers of", "seconds", "CPU of readers", "transactions in Postgres")
    with (
        PostgresServer() as postgres,
        postgres.database() as url,
        RedisServer(own=True) as server,
        tempfile.TemporaryDirectory() as folder,
        Repository.open(folder, database=url) as repository,
        HistoryBoard(repository, server.url, max_age_seconds=600) as board,
    ):
        with Scheduler(repository) as scheduler:
            for start in range(0, JOBS, JOBS // 10):
                _ended(scheduler, [work(number) for number in range(start, start + JOBS // 10)])
        board.refresh()
        answers = []
        for kind in ("SQL", "board", "SQL", "board"):
            before = _transactions(repository)
            command = [sys.executable, "-m", "benchmarks.board", "--read", kind, folder, server.url]
            command += [str(given.readers // PROCESSES)]
            environment = {**os.environ, "VALUESTORE_DATABASE": url}
            readers = [
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(PROCESSES)
            ]
            found = [json.loads(reader.communicate()[0]) for reader in readers]
            seconds = max(each["seconds"] for each in found)
            answers += [each["answer"] for each in found]
            cpu = sum(each["cpu"] for each in found)
            shown.add_row(kind, f"{seconds:.2f}", f"{cpu:.2f}", str(_transactions(repository) - before))
        assert all(each == answers[0] for each in answers)
    Console().print(shown)


def _ended(scheduler: Scheduler, calls: list[Any]) -> None:
    try:
        scheduler.run(calls)
    except ValueError:
        return


def _transactions(repository: Repository) -> int:
    """Transactions that the database has made, as it counts them once a second."""
    time.sleep(1.5)
    with repository.database.read() as connection:
        asked = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        return int(connection.execute(text(asked)).scalar_one())


def _read(kind: str, folder: str, url: str, count: str) -> None:
    with Repository.open(folder) as repository, HistoryBoard(repository, url, max_age_seconds=600) as board:

        def read(_: int) -> list[str]:
            if kind == "board":
                pages: list[list[Any]] = [
                    board.jobs(limit=20).records,
                    board.jobs(status="failed", limit=20).records,
                    board.jobs(task="board.work", limit=20).records,
                    board.executions(limit=20).records,
                ]
            else:
                history = repository.history
                pages = [
                    history.jobs().page(size=20).records,
                    history.jobs().where(status="failed").page(size=20).records,
                    history.jobs().where(task="board.work").page(size=20).records,
                    history.executions().page(size=20).records,
                ]
            return [str(len(page)) for page in pages]

        read(0)
        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(read, range(int(count))))
        assert all(answer == answers[0] for answer in answers)
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({"answer": answers[0], **took}))


if __name__ == "__main__":
    main()
