"""Side branches: work that is begun beside the result, which neither waits for it nor fails with it.

valuestore run examples/redun/side_branches.py main
"""

from __future__ import annotations

from valuestore import File, const, fork, join, task

SIZE = 4


@task
def simulate(size: int) -> list[int]:
    return [n * n for n in range(size)]


@task
def archive(run: list[int], path: str) -> File:
    kept = File(path)
    kept.write("\n".join(map(str, run)))
    return kept


@task
def notify(run: list[int]) -> None:
    raise ConnectionError("nobody is listening")


@task
def summary(run: list[int]) -> int:
    return sum(run)


@task
def checked(kept: File, expected: int) -> str:
    return f"{len(kept.readlines())} of {expected} kept"


@task
def main() -> dict[str, object]:
    """The summary, whether or not anybody was notified; and a check of the archive, which is waited for."""
    run = simulate(SIZE)
    archived = fork(archive(run, "archive.txt"))
    return {
        "summary": const(summary(run), fork(notify(run))),
        "archive": checked(join(archived), SIZE),
    }
