"""Batch: changes to a store, held back so that they become visible together.

Reads in a batch see its own changes on top of the store. It knows nothing of how a store makes several
changes at once: a store's ``batch()`` says that with a function, which gets all of them at the end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any, NoReturn

from valuestore.errors import AlreadyExists, NotFound, NotSupported
from valuestore.hashing import hash_bytes
from valuestore.stores.base import (
    Attrs,
    Data,
    Page,
    Stat,
    Store,
    copy_attrs,
    find_stat,
    iter_chunks,
    page_through,
    take_page,
)


@dataclass(frozen=True, slots=True)
class Removal:
    """The key goes; it is no error if it is gone already."""


@dataclass(frozen=True, slots=True)
class Write:
    """The key holds ``data``. ``attrs`` None keeps those it has then; ``create`` expects it to be free."""

    data: bytes
    attrs: dict[str, Any] | None
    create: bool
    known: Stat


Changes = dict[str, "Write | Removal"]


class Batch(Store):
    """A store as it will be. Holds the data of its writes in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: Changes = {}
        self._lock = RLock()

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        change = self._change(key)
        if change is None:
            return self._store.get(key, start, end)
        return change.data[start:end]

    def stat(self, key: str) -> Stat:
        change = self._change(key)
        if change is None:
            return self._store.stat(key)
        known = change.known
        return Stat(key, known.size, known.modified, known.etag, copy_attrs(known.attrs))

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._checked_key(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        content = b"".join(iter_chunks(key, data, size))
        with self._lock:
            found = find_stat(self, key) if wanted is None or not overwrite else None
            if found is not None and not overwrite:
                raise AlreadyExists(key, self.url)
            seen = wanted if wanted is not None else found.attrs if found is not None else {}
            known = Stat(key, len(content), datetime.now(UTC), hash_bytes(content), seen)
            before = self._changes.get(key)
            create = not overwrite if before is None else isinstance(before, Write) and before.create
            self._changes[key] = Write(content, wanted if before is None else seen, create, known)
            return self.stat(key)

    def delete(self, key: str) -> None:
        with self._lock:
            if not self.exists(key):
                raise NotFound(key, self.url)
            self._changes[key] = Removal()

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        written = sorted(
            key
            for key, change in list(self._changes.items())
            if isinstance(change, Write) and key.startswith(prefix) and (cursor is None or key > cursor)
        )
        kept = (key for key in page_through(self._store, prefix, cursor, limit) if key not in self._changes)
        return take_page(heapq.merge(kept, written), limit)

    @contextmanager
    def batch(self) -> Iterator[Store]:
        """A part of this batch: what it changed is forgotten if its block raises."""
        self._check_open()
        before = dict(self._changes)
        try:
            yield self
        except BaseException:
            self._changes = before
            raise

    @property
    def url(self) -> str:
        return self._store.url

    def __reduce__(self) -> NoReturn:
        raise NotSupported(self.url, "batches in other processes", "pass the store itself")

    def _change(self, key: str) -> Write | None:
        """What this batch wrote at ``key``; None if it leaves it alone. Raises: NotFound if it removed it."""
        change = self._changes.get(self._checked_key(key))
        if isinstance(change, Removal):
            raise NotFound(key, self.url)
        return change


@contextmanager
def collect_changes(store: Store, commit: Callable[[Changes], object]) -> Iterator[Store]:
    """A batch on ``store``, whose changes are handed to ``commit`` when the block ends without an error."""
    batch = Batch(store)
    try:
        yield batch
        if batch._changes:
            commit(batch._changes)
    finally:
        batch.close()
