"""diskcache: a cache in SQLite."""

from __future__ import annotations

from diskcache import Cache

from benchmarks import work


class Diskcache:
    """A cache in the folder."""

    def __init__(self, folder: str) -> None:
        self.cache = Cache(folder)
        self.leaf = self.cache.memoize()(work.leaf)
        self.total = self.cache.memoize()(work.total)

    def fan_out(self, xs: list[int]) -> int:
        return int(self.total([self.leaf(x) for x in xs]))

    def put(self, values: list[bytes]) -> list[str]:
        keys = [str(index) for index in range(len(values))]
        for key, value in zip(keys, values, strict=True):
            self.cache.set(key, value)
        return keys

    def get(self, keys: list[str]) -> list[bytes]:
        return [self.cache.get(key) for key in keys]

    def close(self) -> None:
        self.cache.close()


SYSTEM = Diskcache
