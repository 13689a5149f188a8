"""Observed: a store that tells observers what is done to it. They cannot change or break what is done."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

from valuestore.errors import StoreError
from valuestore.hashing import Bytes
from valuestore.observe import Change, Observer, Watch, notify, watch
from valuestore.stores.base import Data, Json, Page, Stat, Store, as_buffer, iter_chunks
from valuestore.stores.wrappers.base import Wrapper, batch_around, pair_up


class Observed(Wrapper):
    """Each operation is a start, steps as bytes move, and an end, told to ``observers``.

    ``changes`` are told of what became visible, after its end; in a batch, after the commit. For them the
    store is asked, before each change, what is there; without them it is asked nothing more than usual.
    """

    def __init__(
        self, store: Store, *observers: Observer, changes: Iterable[Callable[[Change], object]] = ()
    ) -> None:
        super().__init__(store)
        self._observers = observers
        self._listeners = tuple(changes)

    # --- reading ------------------------------------------------------------------------------------

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        with self._watch("get", key) as watched:
            data = self._store.get(key, start, end)
            watched.step(len(data))
        return data

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        with self._watch("get_many") as watched:
            found = self._store.get_many(keys)
            watched.step(sum(map(len, found)))
        return found

    def open(self, key: str) -> BinaryIO:
        """As everywhere; the operation lasts until the stream is closed."""
        watched = self._watch_open(key)
        try:
            stream = self._store.open(key)
        except BaseException as error:
            watched.end(error)
            raise
        return cast(BinaryIO, io.BufferedReader(_WatchedReader(stream, watched)))

    def stat(self, key: str) -> Stat:
        with self._watch("stat", key):
            return self._store.stat(key)

    def size(self, key: str) -> int:
        with self._watch("size", key):
            return self._store.size(key)

    def exists(self, key: str) -> bool:
        with self._watch("exists", key):
            return self._store.exists(key)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        with self._watch("exists_many"):
            return self._store.exists_many(keys)

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        with self._watch("list", prefix):
            return self._store.list(prefix, limit=limit, cursor=cursor)

    # --- changing -----------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        before = self._before(key)
        buffer = as_buffer(data)
        with self._watch("put", key, size if buffer is None else len(buffer)) as watched:
            passed = _stepping(key, data, watched) if buffer is None else buffer
            known = self._store.put(key, passed, size=size, attrs=attrs, overwrite=overwrite)
            if buffer is not None:
                watched.step(len(buffer))
        self._put_is_visible(before, known)
        return known

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        with self._watch("put_many") as watched:
            if self._listeners:
                return super(Wrapper, self).put_many(keys, values)  # each is told of
            listed, passed = pair_up(keys, values, lambda key, data: _counting(key, data, watched))
            return self._store.put_many(listed, passed)

    def delete(self, key: str) -> None:
        before = self._before(key)
        with self._watch("delete", key):
            self._store.delete(key)
        if before is not None:
            self._tell(Change("delete", key, before.attrs, self.url))

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        with self._watch("delete_many"):
            if self._listeners:
                return super(Wrapper, self).delete_many(keys)
            return self._store.delete_many(keys)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        before = self._before(target)
        with self._watch("copy", target):
            known = self._store.copy(source, target, overwrite=overwrite)
        self._put_is_visible(before, known)
        return known

    def move(self, source: str, target: str) -> None:
        old, before = self._before(source), self._before(target)
        with self._watch("move", target):
            self._store.move(source, target)
        if old is not None and source != target:
            kind = "set" if before is None else "update"
            self._tell(Change(cast(Any, kind), target, old.attrs, self.url))
            self._tell(Change("delete", source, old.attrs, self.url))

    def batch(self) -> AbstractContextManager[Store]:
        return self._tell_after(self._store.batch())

    @contextmanager
    def _tell_after(self, batch: AbstractContextManager[Store]) -> Iterator[Store]:
        """What the batch changed is told of when it is committed, in its order; not if it is not."""
        changed: list[Change] = []
        listeners = (changed.append,) if self._listeners else ()
        with batch_around(batch, lambda store: Observed(store, *self._observers, changes=listeners)) as store:
            yield store
        for change in changed:
            self._tell(change)

    def flush(self) -> None:
        with self._watch("flush"):
            self._store.flush()

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "changes": self._listeners}

    def __reduce__(self) -> tuple[Any, ...]:
        return _observed, (self._store, self._observers, self._listeners)

    def _watch(
        self, operation: str, key: str = "", total: int | None = None
    ) -> AbstractContextManager[Watch]:
        return watch(self._observers, operation, key, self.url, total)

    def _watch_open(self, key: str) -> Watch:
        return Watch(self._observers, "open", key, self.url)

    def _before(self, key: str) -> Stat | None:
        if not self._listeners:
            return None
        try:
            return self._store.stat(key)
        except StoreError:  # nothing there; or the operation itself finds out what is wrong
            return None

    def _put_is_visible(self, before: Stat | None, known: Stat) -> None:
        if self._listeners:
            kind = "set" if before is None else "update"
            self._tell(Change(cast(Any, kind), known.key, known.attrs, self.url))

    def _tell(self, change: Change) -> None:
        notify(self._listeners, change)


def _observed(store: Store, observers: Sequence[Observer], changes: Any) -> Observed:
    return Observed(store, *observers, changes=changes)


def _stepping(key: str, data: Data, watched: Watch) -> Iterator[Bytes]:
    for chunk in iter_chunks(key, data):
        yield chunk
        watched.step(len(chunk))


def _counting(key: str, data: Data, watched: Watch) -> Data:
    buffer = as_buffer(data)
    if buffer is None:
        return _stepping(key, data, watched)
    watched.step(len(buffer))
    return buffer


class _WatchedReader(io.RawIOBase):
    """Steps as it is read; ends when it is closed."""

    def __init__(self, stream: BinaryIO, watched: Watch) -> None:
        self._stream = stream
        self._watched = watched
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            piece = self._stream.read(len(buffer))
        except BaseException as error:
            self._error = error
            raise
        buffer[: len(piece)] = piece
        if piece:
            self._watched.step(len(piece))
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._watched.end(self._error)
        super().close()
