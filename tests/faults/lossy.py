"""Whole workflows on a payload store that loses things, and with a clock that jumps."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import workflow
from tests.faults.found import Found
from valuestore import Repository
from valuestore.errors import NotFound
from valuestore.stores.base import Store
from valuestore.stores.files.store import FileStore
from valuestore.stores.wrappers import Wrapper

_CALLS = 6


class LossyStore(Wrapper):
    """Of each operation on a key, ``share`` lose it first: what was there is gone, damaged, or not stored.

    Between two of these, so that who finds a key there may not find it again a moment later.
    """

    def __init__(self, store: Store, chance: random.Random, share: float) -> None:
        super().__init__(store)
        self._chance, self.share, self.lost = chance, share, 0
        self._lock = threading.Lock()

    def _through(self, verb: str, keys: Any, ask: Callable[..., Any]) -> Any:
        answer = ask(self._store, keys)
        for key in [keys] if isinstance(keys, str) else list(keys or ()):
            self._lose(str(key))
        return answer

    def _lose(self, key: str) -> None:
        with self._lock:
            if self._chance.random() >= self.share or key.count("/") != 1:
                return
            self.lost += 1
            try:
                data = self._store.get(key)
                self._store.delete(key)
                if self._chance.random() < 0.3:
                    self._store.put(key, data[: len(data) // 2])
            except NotFound:
                pass


def lossy(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` runs, half of them reruns, while one in twenty operations loses what it was about."""
    found = Found()
    for number in range(size):
        place = folder / str(number // 10)
        start = 3 * (number // 2)
        store = LossyStore(FileStore(place / "payloads"), chance, 0.05)
        opened = Repository.open(place, payloads=store, inline_max_bytes=0)
        with found.catching("could not be run", number), opened as repository:
            right = workflow.run(repository, _CALLS, start) == workflow.expected(_CALLS, start)
            found.check(right, "wrong", number)
        found.done["runs"] += 1
        found.done["losses"] += store.lost
    return found


def clock(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` runs, each twice, while the clock jumps: hours back and forth, to 1970 and to 2100."""
    found = Found()
    real_ns, real = time.time_ns, time.time
    jumps = [0, 3600, -3600, 86400 * 365 * 70, -real() + 5, 0.5, -0.5]
    offset = [0.0]
    time.time_ns = lambda: real_ns() + int(offset[0] * 1e9)
    time.time = lambda: real() + offset[0]
    stop = threading.Event()

    def jump() -> None:
        while not stop.wait(0.01):
            offset[0] = chance.choice(jumps)

    jumping = threading.Thread(target=jump)
    jumping.start()
    try:
        for number in range(size):
            began = time.monotonic()
            with found.catching("could not be run", number):
                for attempt in range(2):
                    workflow.RAN.clear()
                    with Repository.open(folder) as repository:
                        right = workflow.run(repository, 2, 3 * number) == workflow.expected(2, 3 * number)
                        found.check(right, "wrong", number)
                    found.check(not (attempt and workflow.RAN), "run again", f"{number} {workflow.RAN}")
            found.check(time.monotonic() - began < 10, "took too long", number)
            found.done["runs"] += 2
    finally:
        stop.set()
        jumping.join()
        time.time_ns, time.time = real_ns, real
    return found
