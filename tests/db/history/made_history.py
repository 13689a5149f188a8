"""A small history of everything: files, containers, failures, several executions; on any database."""

from __future__ import annotations

from pathlib import Path

from valuestore import File, Repository, Scheduler, tag, task


@task
def write(folder: str, number: int) -> File:
    file = File(f"{folder}/data/{number}.txt")
    file.write(f"contents of file number {number}, long enough to tell something")
    return file


@task
def read(file: File) -> str:
    return file.read_text()


@task
def join(parts: list) -> str:
    return " and ".join(parts)


@task(tags={"kind": "root"})
def report(folder: str, count: int) -> dict:
    return {"text": join([read(write(folder, number)) for number in range(count)])}


@task
def label(n: int) -> int:
    return tag(n * 2, {"stage": "trial"}, job_tags={"looked": True}, execution_tags={"labelled": n})


@task
def fail(reason: str) -> int:
    raise ValueError(reason)


@task
def step(x: str) -> str:
    return x + ", one step further on"


def make(repository: Repository, folder: Path) -> None:
    """Six executions, oldest first: two reports, a file read by its path, labels, a failure, a deep chain."""
    here = str(folder)
    with Scheduler(repository) as scheduler:
        scheduler.run(report(here, 2), tags={"project": "census", "n": 1})
        scheduler.run(report(here, 3), tags={"project": "census", "n": 2})
        scheduler.run(read(File(f"{here}/data/1.txt")))
        scheduler.run(label(21))
        try:
            scheduler.run(fail("100% of it_broke"))
        except ValueError:
            pass
        chain = "the beginning of a chain"
        for _ in range(12):
            chain = step(chain)
        scheduler.run(chain)
