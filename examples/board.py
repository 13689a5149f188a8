"""Board: what ran last, asked of Redis as often as one likes, and never of SQL.

    python examples/board.py run redis://localhost/0       # a pipeline that keeps the board up
    python examples/board.py show redis://localhost/0      # in other terminals: the newest jobs

Both open the same repository. Those that show may be on other machines, if it is a Postgres that they share.
"""

from __future__ import annotations

import sys
import time

from valuestore import Repository, Scheduler, task
from valuestore.interop.board import HistoryBoard


@task(namespace="board_example", cache=False)
def measure(number: int) -> float:
    """A value, now and then none."""
    time.sleep(number % 7 / 1000)
    if number % 20 == 19:
        raise ValueError(f"nothing to measure at {number}")
    return number / 7


def run(url: str) -> None:
    """Measure, and let the board know."""
    with Repository.open() as repository, HistoryBoard(repository, url), Scheduler(repository) as scheduler:
        try:
            scheduler.run([measure(number) for number in range(100)])
        except ValueError as error:
            print(f"one failed: {error}")


def show(url: str) -> None:
    """A page of the newest, and one of those that failed."""
    with Repository.open() as repository, HistoryBoard(repository, url) as board:
        for execution in board.executions(limit=3).records:
            print(
                f"{execution.started:%H:%M:%S} {execution.status:8} {execution.label}, {execution.jobs} jobs"
            )
        for job in board.jobs(limit=5).records:
            print(f"  {job.task} {job.status} in {job.seconds:.3f} s: {job.result or job.error}")
        print(f"{len(board.jobs(status='failed', task='board_example.measure').records)} failed")


if __name__ == "__main__":
    {"run": run, "show": show}[sys.argv[1]](sys.argv[2])
