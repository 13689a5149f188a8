"""Workers: threads that make many requests at once, and give the answers in the order of the questions.

Called by S3Store, for ``get_many`` and its like. They know nothing of S3.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


class Workers:
    """``count`` threads, started on first use and anew in each process."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def map(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """What ``work`` makes of each item. Raises what it raises, where its turn comes."""
        pool = self._pool()
        return self._ordered(lambda item: pool.submit(work, item), items)

    def map_by_key(self, work: Callable[[str, _T], _R], pairs: Iterable[tuple[str, _T]]) -> Iterator[_R]:
        """As ``map``; of several pairs with one key, each waits for the one before."""
        pool = self._pool()
        running: dict[str, Future[_R]] = {}

        def start(pair: tuple[str, _T]) -> Future[_R]:
            if (earlier := running.get(pair[0])) is not None:
                wait([earlier])
            running[pair[0]] = pool.submit(work, *pair)
            return running[pair[0]]

        return self._ordered(start, pairs)

    def close(self) -> None:
        """Wait for this process's threads, and end them."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.shutdown()

    def _pool(self) -> ThreadPoolExecutor:
        process = os.getpid()
        if (pool := self._pools.get(process)) is None:
            made = ThreadPoolExecutor(self._count, "valuestore-s3")
            pool = self._pools.setdefault(process, made)
        return pool

    def _ordered(self, start: Callable[[_T], Future[_R]], items: Iterable[_T]) -> Iterator[_R]:
        """The results in the order of the items, few of which wait at any time."""
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(start(item))
                if len(waiting) > 2 * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            wait(waiting)
