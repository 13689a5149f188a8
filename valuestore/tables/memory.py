"""MemoryTable: a table in this process, for small ones and for tests. Its rows are bytes all the same."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import groupby
from math import inf
from typing import Any

from valuestore.tables.interval import Intervals
from valuestore.tables.schema import Encoded, Row, Score
from valuestore.tables.table import Asked, Drop, DropAll, Dropped, Guard, Step, Table

_FEW = 64
"""Of more entries at once, a list is made anew."""


class MemoryTable(Table[Row]):
    """A table in memory, gone when the process is. What it gives is made anew each time.

    ``declared`` is what every ``Table`` takes: ``key``, ``codecs``, ``indexes``, ``get``, ``make``.
    """

    def __init__(self, **declared: Any) -> None:
        super().__init__(**declared)
        self._lock = threading.RLock()
        self._epoch, self._writes = 0, 0
        self._text, self._lease = "", ""
        self._clear()

    def rows(self, asked: Asked) -> Sequence[bytes] | None:
        with self._lock:
            if asked.epoch not in (None, str(self._epoch)):
                return None
            found = [self._data[key].data for key in self._keys(asked.by, asked.intervals)]
        return (found[::-1] if asked.reverse else found)[: asked.limit]

    def known(self) -> tuple[str, str]:
        with self._lock:
            return str(self._epoch), self._text

    def lease(self, token: str, seconds: float) -> bool:
        with self._lock:
            if self._lease not in ("", token):
                return False
            self._lease = token if seconds else ""
            return True

    def _apply(
        self, steps: Sequence[Step], *, wants_rows: bool = False, guard: Guard | None = None
    ) -> Dropped | None:
        with self._lock:
            if guard is not None:
                now = self._writes if guard.field == "writes" else self._epoch
                if guard.seen != str(now) or guard.lease not in ("", self._lease):
                    return None
                self._text = self._text if guard.text is None else guard.text
                self._epoch += 1
            self._writes += 1
            dropped: list[bytes] = []
            for kind, group in groupby(steps, type):
                if kind is Encoded:
                    self._put({step.key: step for step in group if isinstance(step, Encoded)})
                else:
                    for step in group:
                        keys = self._meant(step)
                        self._forget(keys)
                        dropped += [self._data.pop(key).data for key in keys]
            return Dropped(len(dropped), dropped if wants_rows else ())

    def _get(self, key: bytes) -> bytes | None:
        with self._lock:
            return self._data[key].data if key in self._data else None

    def _all(self) -> tuple[str, Sequence[bytes]]:
        with self._lock:
            return str(self._writes), [each.data for each in self._data.values()]

    def _clear(self) -> None:
        with self._lock:
            self._data: dict[bytes, Encoded] = {}
            self._order: list[list[tuple[Score, bytes]]] = [[] for _ in self.schema.indexes]
            self._text, self._lease = "", ""
            self._epoch += 1
            self._writes += 1

    def _keys(self, index: str, intervals: Intervals) -> list[bytes]:
        order: list[Any] = self._order[self.schema.place(index)]
        ends = [
            (bisect_left(order, (each.ge,)), len(order) if each.lt == inf else bisect_left(order, (each.lt,)))
            for each in intervals
        ]
        return [key for start, end in ends for _, key in order[start:end]]

    def _meant(self, step: Step) -> list[bytes]:
        """The keys of the rows to be deleted, once each."""
        if isinstance(step, Drop):
            return self._keys(step.by, step.intervals)
        if isinstance(step, DropAll):
            return list(self._data)
        assert not isinstance(step, Encoded)
        known = ((key, data, self._data[key].data) for key, data in step.rows.items() if key in self._data)
        return [key for key, data, now in known if data in (b"", now)]

    def _forget(self, keys: Iterable[bytes]) -> None:
        """Take them out of the indexes."""
        gone = set(keys)
        for place, order in enumerate(self._order):
            if len(gone) > _FEW:
                order[:] = [entry for entry in order if entry[1] not in gone]
                continue
            for key in gone:
                del order[bisect_left(order, (self._data[key].scores[place], key))]

    def _put(self, rows: dict[bytes, Encoded]) -> None:
        self._forget(key for key in rows if key in self._data)
        self._data.update(rows)
        for place, order in enumerate(self._order):
            entries = [(row.scores[place], row.key) for row in rows.values()]
            if len(entries) > _FEW:
                order += entries
                order.sort()
            else:
                for entry in entries:
                    insort(order, entry)
