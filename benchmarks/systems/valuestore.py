"""valuestore with an embedded repository."""

from __future__ import annotations

from benchmarks import work
from valuestore import Scheduler, task

leaf = task(work.leaf)
total = task(work.total)


class Valuestore:
    """A scheduler on a repository in the folder."""

    def __init__(self, folder: str) -> None:
        self.scheduler = Scheduler(folder)

    def fan_out(self, xs: list[int]) -> int:
        return self.scheduler.run(total([leaf(x) for x in xs]))

    def put(self, values: list[bytes]) -> list[str]:
        return [self.scheduler.repository.put(value).value_hash for value in values]

    def get(self, keys: list[str]) -> list[bytes]:
        return [self.scheduler.repository.get(key) for key in keys]

    def close(self) -> None:
        self.scheduler.close()


SYSTEM = Valuestore
