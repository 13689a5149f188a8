"""MemoryStore: keys and bytes in this process, gone with it. For tests, and in front of slower stores."""

from __future__ import annotations

import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any, Self
from weakref import WeakValueDictionary

from valuestore.errors import AlreadyExists, BadReference, NotFound
from valuestore.hashing import hash_bytes
from valuestore.lazy import renew_after_fork
from valuestore.stores.base import (
    Attrs,
    Data,
    Page,
    Stat,
    Store,
    check_key,
    copy_attrs,
    iter_chunks,
    take_page,
)
from valuestore.stores.batch import Changes, Removal, collect_changes


class MemoryStore(Store):
    """Keys and bytes in memory. Stores of one name share their contents within the process.

    A named one lives as long as the process, an unnamed one as long as somebody holds it. A pickle holds
    the name alone: within the process it finds the same contents, in another it starts empty.
    """

    def __init__(self, name: str | None = None, *, _space: str | None = None) -> None:
        self._name = name
        self._space = _find_space(name, _space)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        data = self._find(key).data
        return data if start == 0 and end is None else data[start:end]

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._checked_key(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        if not overwrite and key in self._space.entries:
            raise AlreadyExists(key, self.url)
        content = b"".join(iter_chunks(key, data, size))
        entry = _Entry(content, hash_bytes(content), datetime.now(UTC), wanted or {})
        self._space.put(key, entry, keep_attrs=wanted is None, overwrite=overwrite, where=self.url)
        return entry.stat(key)

    def stat(self, key: str) -> Stat:
        return self._find(key).stat(key)

    def size(self, key: str) -> int:
        return len(self._find(key).data)

    def delete(self, key: str) -> None:
        self._checked_key(key)
        with self._space.lock:
            if self._space.entries.pop(key, None) is None:
                raise NotFound(key, self.url)
            self._space.order = None

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        return take_page(self._space.keys(prefix, cursor), limit)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        found = self._find(source)
        return self.put(target, found.data, attrs=found.attrs, overwrite=overwrite)

    def batch(self) -> AbstractContextManager[Store]:
        self._check_open()
        return collect_changes(self, lambda changes: self._space.commit(changes, self.url))

    @property
    def url(self) -> str:
        return f"memory://{self._name or ''}"

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        scheme, _, name = url.partition("://")
        if scheme.lower() != "memory":
            raise BadReference(url, "a memory store's URL is memory://name")
        return cls(name.strip("/") or None, **settings)

    def _settings(self) -> dict[str, Any]:
        return {"name": self._name, "_space": self._space.name}

    def _find(self, key: str) -> _Entry:
        self._check_open()
        try:
            return self._space.entries[check_key(key)]
        except KeyError:
            raise NotFound(key, self.url) from None


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    etag: str
    modified: datetime
    attrs: dict[str, Any]

    def stat(self, key: str) -> Stat:
        return Stat(key, len(self.data), self.modified, self.etag, copy_attrs(self.attrs))


class _Space:
    """The contents that stores of one name share. ``order`` is None while the sorted keys are out of date."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = RLock()
        self.entries: dict[str, _Entry] = {}
        self.order: list[str] | None = None

    def put(self, key: str, entry: _Entry, *, keep_attrs: bool, overwrite: bool, where: str) -> None:
        with self.lock:
            old = self.entries.get(key)
            if old is None:
                self.order = None
            elif not overwrite:
                raise AlreadyExists(key, where)
            elif keep_attrs:
                entry.attrs.update(old.attrs)
            self.entries[key] = entry

    def commit(self, changes: Changes, where: str) -> None:
        """All of the changes at one instant: readers take no lock, so they get other contents as a whole.

        Raises: AlreadyExists if a key to be created is taken by now; then nothing changes.
        """
        with self.lock:
            entries = dict(self.entries)
            for key, change in changes.items():
                old = entries.pop(key, None)
                if isinstance(change, Removal):
                    continue
                if change.create and old is not None:
                    raise AlreadyExists(key, where)
                kept = {} if old is None else old.attrs
                attrs = copy_attrs(kept if change.attrs is None else change.attrs)
                entries[key] = _Entry(change.data, change.known.etag, change.known.modified, attrs)
            self.entries, self.order = entries, None

    def keys(self, prefix: str, cursor: str | None) -> Iterator[str]:
        """Keys in order. Code point order, by which Python sorts str, is the byte order of UTF-8."""
        with self.lock:
            order = self.order = sorted(self.entries) if self.order is None else self.order
        first = bisect_left(order, prefix)
        if cursor is not None:
            first = max(first, bisect_right(order, cursor))
        for index in range(first, len(order)):
            if not order[index].startswith(prefix):
                return
            yield order[index]


_lock = RLock()
_named: dict[str, _Space] = {}
_unnamed: WeakValueDictionary[str, _Space] = WeakValueDictionary()


def _find_space(name: str | None, unnamed: str | None) -> _Space:
    with _lock:
        if name is not None:
            return _named.setdefault(name, _Space(name))
        chosen = unnamed or uuid.uuid4().hex
        space = _unnamed.get(chosen)
        if space is None:
            space = _unnamed[chosen] = _Space(chosen)
        return space


@renew_after_fork
def _renew_locks() -> None:
    global _lock
    _lock = RLock()
    for space in (*_named.values(), *_unnamed.values()):
        space.lock = RLock()
