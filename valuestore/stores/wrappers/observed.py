"""Observed: a store that tells observers what is done to it. They cannot change or break what is done."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

from valuestore.errors import StoreError
from valuestore.hashing import Bytes
from valuestore.observe import Change, Observer, Watch, notify
from valuestore.stores.base import Attrs, Data, Stat, Store, as_buffer, iter_chunks
from valuestore.stores.streams import Rest
from valuestore.stores.wrappers.base import Answer, Ask, Verb, Wrapper, batch_around, pair_up

_UNTOLD: frozenset[Verb] = frozenset({"batch", "sign", "close"})
_OF_MANY: frozenset[Verb] = frozenset({"exists_many", "get_many", "put_many", "delete_many"})


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

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if verb in _UNTOLD:
            return ask(self._store, keys)
        key = keys[-1] if keys and verb not in _OF_MANY else ""
        with Watch(self._observers, verb, key, self.url) as watched:
            answer = ask(self._store, keys)
            if isinstance(answer, bytes | memoryview):
                watched.step(len(answer))
            elif verb == "get_many":
                watched.step(sum(map(len, cast(Sequence[bytes], answer))))
        return answer

    def open(self, key: str) -> BinaryIO:
        """As everywhere; the operation lasts until the stream is closed."""
        watched = Watch(self._observers, "open", key, self.url)
        try:
            stream = self._store.open(key)
        except BaseException as error:
            watched.end(error)
            raise
        return cast(BinaryIO, io.BufferedReader(_WatchedReader(stream, watched)))

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        before = self._before(key)
        buffer = as_buffer(data)
        total = size if buffer is None else len(buffer)
        with Watch(self._observers, "put", key, self.url, total) as watched:
            passed = _stepping(key, data, watched) if buffer is None else buffer
            known = self._store.put(key, passed, size=size, attrs=attrs, overwrite=overwrite)
            if buffer is not None:
                watched.step(len(buffer))
        self._put_is_visible(before, known.key, known.attrs)
        return known

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        with Watch(self._observers, "put_many", "", self.url) as watched:
            if self._listeners:
                return Store.put_many(self, keys, values)  # each is told of
            return self._store.put_many(
                *pair_up(keys, values, lambda key, data: _counting(key, data, watched))
            )

    def delete(self, key: str) -> None:
        before = self._before(key)
        super().delete(key)
        if before is not None:
            notify(self._listeners, Change("delete", key, before.attrs, self.url))

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        if not self._listeners:
            return super().delete_many(keys)
        return self._through("delete_many", list(keys), lambda _, names: Store.delete_many(self, names))

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        before = self._before(target)
        known = super().copy(source, target, overwrite=overwrite)
        self._put_is_visible(before, known.key, known.attrs)
        return known

    def move(self, source: str, target: str) -> None:
        old, before = self._before(source), self._before(target)
        super().move(source, target)
        if old is not None and source != target:
            self._put_is_visible(before, target, old.attrs)
            notify(self._listeners, Change("delete", source, old.attrs, self.url))

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
            notify(self._listeners, change)

    def __reduce__(self) -> tuple[Any, ...]:
        return _observed, (self._store, self._observers, self._listeners)

    def _before(self, key: str) -> Stat | None:
        if not self._listeners:
            return None
        try:
            return self._store.stat(key)
        except StoreError:  # nothing there; or the operation itself finds out what is wrong
            return None

    def _put_is_visible(self, before: Stat | None, key: str, attrs: Mapping[str, Any]) -> None:
        if self._listeners:
            notify(self._listeners, Change("set" if before is None else "update", key, attrs, self.url))


def _observed(store: Store, observers: Sequence[Observer], changes: Any) -> Observed:
    """Opens a pickle; its name is part of what identifies such a store."""
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


class _WatchedReader(Rest):
    """Steps as it is read; ends when it is closed."""

    def __init__(self, stream: BinaryIO, watched: Watch) -> None:
        super().__init__(stream)
        self._watched = watched
        self._error: BaseException | None = None

    def readinto(self, buffer: Any, /) -> int:
        try:
            count = super().readinto(buffer)
        except BaseException as error:
            self._error = error
            raise
        if count:
            self._watched.step(count)
        return count

    def close(self) -> None:
        is_open = not self.closed
        super().close()
        if is_open:
            self._watched.end(self._error)
