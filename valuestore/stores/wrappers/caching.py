"""Caching: a store with copies of what is read and written in a faster one, which may fail or forget.

The store below decides everything: what there is, how large it is, who wins. The cache answers reads alone,
so it holds bytes and no attributes. What keeps it from answering with old bytes, in this order: a copy is
dropped before its key changes; a copy made while the key changed is not kept; a copy that cannot be dropped
is not read; and if others write to the store, a copy is kept only if the key is the same before and after.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import BinaryIO, TypeVar

from valuestore.errors import NotFound, StoreError, TooLarge
from valuestore.hashing import Bytes
from valuestore.observe import Event, Observer, notify
from valuestore.stores.base import Data, Stat, Store, as_buffer, check_key, iter_chunks
from valuestore.stores.wrappers.base import Attrs, Wrapper

_A = TypeVar("_A", bytes, BinaryIO)
_STRIPES = 64


class Caching(Wrapper):
    """Reads by way of ``cache``; writes go to ``store`` first. The cache never fails the caller.

    What has more than ``admit_max_bytes`` is not cached; None admits anything, and then anything has to fit
    into memory. With ``fill`` false, reads leave the cache as it is, and writes alone fill it.
    ``others_write`` costs two more requests per copy; it is not needed if nobody else writes to the store,
    or if a key never gets other content. Observers hear of ``cache_hit``, ``cache_miss``, ``cache_error``.
    """

    def __init__(
        self,
        store: Store,
        cache: Store,
        *,
        admit_max_bytes: int | None,
        fill: bool,
        others_write: bool,
        observers: Iterable[Observer],
    ) -> None:
        super().__init__(store)
        self._cache = cache
        self._admit_max = admit_max_bytes
        self._fill = fill
        self._others_write = others_write
        self._observers = tuple(observers)
        self._doubtful: set[str] = set()  # copies that may be old and could not be dropped
        self._versions = [0] * _STRIPES  # counts what began or ended a change of a key of the stripe
        self._locks = [threading.RLock() for _ in range(_STRIPES)]
        self._counting = threading.Lock()
        self.hits = 0
        self.misses = 0

    # --- reading ------------------------------------------------------------------------------------

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        self._check_open()
        copy = self._from_cache(check_key(key), lambda: self._cache.get(key, start, end))
        if copy is not None:
            return copy
        if (start, end) != (0, None):
            return self._store.get(key, start, end)
        return self._read(key)

    def open(self, key: str) -> BinaryIO:
        self._check_open()
        copy = self._from_cache(check_key(key), lambda: self._cache.open(key))
        if copy is not None:
            return copy
        if self._fill and self._admits(self._store.size(key)):
            return io.BytesIO(self._read(key))
        return self._store.open(key)

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        """As everywhere. What is not cached is one request; it becomes cached unless others write."""
        self._check_open()
        asked = list(map(check_key, keys))
        found: dict[str, bytes] = {}
        for key in asked:
            copy = self._from_cache(key, lambda key=key: self._cache.get(key))  # type: ignore[misc]
            if copy is not None:
                found[key] = copy
        missing = [key for key in asked if key not in found]
        versions = [self._version(key) for key in missing]
        for key, version, data in zip(missing, versions, self._store.get_many(missing), strict=True):
            found[key] = data
            if self._fill and not self._others_write:
                self._keep(key, data, version)
        return [found[key] for key in asked]

    def _read(self, key: str) -> bytes:
        """The bytes from the store, after leaving a copy in the cache if they are admitted."""
        version = self._version(key)
        if not self._fill:
            return self._store.get(key)
        before = self._store.stat(key) if self._others_write else None
        data = self._store.get(key)
        if self._keep(key, data, version) and before is not None:
            self._verify(key, before)
        return data

    def _from_cache(self, key: str, read: Callable[[], _A]) -> _A | None:
        copy: _A | None = None
        if key not in self._doubtful or self._drop(key):
            try:
                copy = read()
            except NotFound:
                pass
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the cache, there is the store
                self._report(key, error)
        with self._counting:
            if copy is None:
                self.misses += 1
            else:
                self.hits += 1
        self._tell("cache_miss" if copy is None else "cache_hit", key)
        return copy

    # --- changing -----------------------------------------------------------------------------------

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._check_open()
        check_key(key)
        whole, passed = self._admitted(key, data, size)
        known: Stat | None = None
        version = self._begin(key)
        try:
            known = self._store.put(key, passed, size=size, attrs=attrs, overwrite=overwrite)
        finally:  # even if it failed: it may have arrived
            kept = known is not None and whole is not None and self._keep(key, whole, version)
            self._end(key, keep=kept)
        if kept and self._others_write:
            self._verify(key, known)
        return known

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        listed = list(keys)
        with self._changing(*listed):
            return self._store.put_many(listed, values)

    def delete(self, key: str) -> None:
        with self._changing(key):
            self._store.delete(key)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        listed = list(keys)
        with self._changing(*listed):
            return self._store.delete_many(listed)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        with self._changing(target):
            return self._store.copy(source, target, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        with self._changing(source, target):
            self._store.move(source, target)

    batch = Store.batch
    map = Store.map  # by way of ``get``

    def close(self) -> None:
        super().close()
        try:
            self._cache.close()
        except Exception as error:  # noqa: BLE001
            self._report("", error)

    def _admitted(self, key: str, data: Data, size: int | None) -> tuple[Bytes | None, Data]:
        """The data if it is whole in memory and admitted, or None; and the data to go on with."""
        if (buffer := as_buffer(data)) is not None:
            return (bytes(buffer), buffer) if self._admits(len(buffer)) else (None, buffer)
        if self._admit_max is None or (size is not None and not self._admits(size)):
            return None, data
        chunks, head, total = iter_chunks(key, data), [], 0
        for chunk in chunks:
            head.append(bytes(chunk))
            total += len(chunk)
            if total > self._admit_max:
                return None, chain(head, chunks)
        whole = b"".join(head)
        return whole, whole

    # --- the cache ----------------------------------------------------------------------------------

    @contextmanager
    def _changing(self, *keys: str) -> Iterator[None]:
        self._check_open()
        for key in keys:
            check_key(key)
        for key in keys:
            self._begin(key)
        try:
            yield
        finally:
            for key in keys:
                self._end(key, keep=False)

    def _begin(self, key: str) -> int:
        stripe = hash(key) % _STRIPES
        with self._locks[stripe]:
            self._versions[stripe] += 1
            self._drop(key)
            return self._versions[stripe]

    def _end(self, key: str, *, keep: bool) -> None:
        stripe = hash(key) % _STRIPES
        with self._locks[stripe]:
            self._versions[stripe] += 1
            if not keep:
                self._drop(key)

    def _version(self, key: str) -> int:
        return self._versions[hash(key) % _STRIPES]

    def _keep(self, key: str, data: Bytes, version: int) -> bool:
        """Leave a copy in the cache, unless a change began or ended since; whether it is there."""
        if not self._admits(len(data)):
            return False
        stripe = hash(key) % _STRIPES
        with self._locks[stripe]:
            if self._versions[stripe] != version:
                return False
            try:
                self._cache.put(key, data, attrs={})
            except Exception as error:  # noqa: BLE001
                if not isinstance(error, TooLarge):
                    self._report(key, error)
                self._drop(key)
                return False
            self._doubtful.discard(key)
            return True

    def _verify(self, key: str, known: Stat | None) -> None:
        """Drop the copy unless the store has at ``key`` what it had."""
        try:
            same = known is not None and self._store.stat(key).etag == known.etag
        except StoreError:
            same = False
        if not same:
            self._drop(key)

    def _drop(self, key: str) -> bool:
        """Delete the copy; whether it is certainly gone."""
        try:
            self._cache.delete(key)
        except NotFound:
            pass
        except Exception as error:  # noqa: BLE001
            self._doubtful.add(key)
            self._report(key, error)
            return False
        self._doubtful.discard(key)
        return True

    def _admits(self, size: int) -> bool:
        return self._admit_max is None or size <= self._admit_max

    def _report(self, key: str, error: Exception) -> None:
        self._tell("cache_error", key, error)

    def _tell(self, operation: str, key: str, error: Exception | None = None) -> None:
        notify(self._observers, Event(operation, key, "end", error=error, place=self._cache.url))
