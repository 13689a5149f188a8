"""redun with its SQLite backend."""

from __future__ import annotations

from redun import Scheduler, task
from redun.config import Config

from benchmarks import work

leaf = task(namespace="benchmarks")(work.leaf)
total = task(namespace="benchmarks")(work.total)


class Redun:
    """A scheduler on a database in the folder. Values are kept by the backend's own two calls."""

    def __init__(self, folder: str) -> None:
        self.scheduler = Scheduler(Config({"backend": {"db_uri": f"sqlite:///{folder}/redun.db"}}))
        self.scheduler.load()

    def fan_out(self, xs: list[int]) -> int:
        return int(self.scheduler.run(total([leaf(x) for x in xs])))

    def put(self, values: list[bytes]) -> list[str]:
        return [self.scheduler.backend.record_value(value) for value in values]

    def get(self, keys: list[str]) -> list[bytes]:
        return [self.scheduler.backend.get_value(key)[0] for key in keys]

    def close(self) -> None:
        """Nothing to do: every call has committed."""


SYSTEM = Redun
