"""Evicting: a store that stays within a size, by deleting what was not used for longest. For caches only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from valuestore.errors import NotFound
from valuestore.stores.base import Stat, Store
from valuestore.stores.wrappers.base import CHANGES, Answer, Ask, Verb, Wrapper
from valuestore.stores.wrappers.limited import Limited

_USES: frozenset[Verb] = frozenset({"get", "map", "open", "get_many"})


class Evicting(Wrapper):
    """At most ``max_bytes`` of data; a put makes room by deleting the least recently read or written.

    What alone is larger raises TooLarge. It counts what it sees: what is there when it is opened, and what
    goes through it. Keys and attributes do not count.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        super().__init__(store)
        self._max_bytes = max_bytes
        self._limited = Limited(store, max_put_bytes=max_bytes)
        self._sizes: OrderedDict[str, int] | None = None
        self._total = 0
        self._lock = threading.RLock()

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if verb not in CHANGES:
            answer = ask(self._store, keys)
            if verb in _USES:
                self._used(keys)
            return answer
        with self._lock:
            self._read_sizes()
            answer = ask(self._limited if verb == "put" else self._store, keys)
            if isinstance(answer, Stat):  # of a put or a copy
                self._grown(keys[-1], answer.size)
            elif verb != "move":
                for key in keys:
                    self._forgotten(key)
            elif keys[0] != keys[1]:
                self._grown(keys[1], self._forgotten(keys[0]))
        return answer

    put_many = Store.put_many
    batch = Store.batch

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "max_bytes": self._max_bytes}

    def _used(self, keys: Iterable[str]) -> None:
        with self._lock:
            sizes = self._read_sizes()
            for key in keys:
                if key in sizes:
                    sizes.move_to_end(key)

    def _forgotten(self, key: str) -> int:
        size = self._read_sizes().pop(key, 0)
        self._total -= size
        return size

    def _grown(self, key: str, size: int) -> None:
        """Count what was put, as used just now, and make room."""
        self._forgotten(key)
        sizes = self._read_sizes()
        sizes[key] = size
        self._total += size
        while self._total > self._max_bytes:
            oldest = next(iter(sizes))
            with suppress(NotFound):
                self._store.delete(oldest)
            self._forgotten(oldest)

    def _read_sizes(self) -> OrderedDict[str, int]:
        if self._sizes is None:
            known = sorted(self._store.scan(), key=lambda stat: stat.modified)
            self._sizes = OrderedDict((stat.key, stat.size) for stat in known)
            self._total = sum(self._sizes.values())
        return self._sizes
