"""Limited: a store that refuses what is too large, before the bytes move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from valuestore.errors import ConfigError, TooLarge
from valuestore.stores.base import Attrs, Data, Stat, Store, as_buffer, iter_chunks
from valuestore.stores.data import counted
from valuestore.stores.wrappers.base import Answer, Ask, Verb, Wrapper, pair_up

_WHOLE: frozenset[Verb] = frozenset({"open", "map", "get_many"})


class Limited(Wrapper):
    """At most ``max_get_bytes`` come out by one ``get`` or ``open``, and ``max_put_bytes`` go in by one put.

    None and 0 mean no limit. Exactly the limit passes. What is over it raises TooLarge, which names the
    setting. A stream of undeclared size is read up to the limit, and then nothing is stored.
    """

    def __init__(
        self, store: Store, max_get_bytes: int | None = None, max_put_bytes: int | None = None
    ) -> None:
        super().__init__(store)
        self._max_get = _checked("max_get_bytes", max_get_bytes)
        self._max_put = _checked("max_put_bytes", max_put_bytes)

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if self._max_get and verb in _WHOLE:
            for key in keys:
                self._check_get(key, self._store.size(key))
        return ask(self._store, keys)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        if self._max_get:
            self._check_get(key, len(range(*slice(start, end).indices(self._store.size(key)))))
        data = super().get(key, start, end)
        self._check_get(key, len(data))  # it may have grown since it was asked for its size
        return data

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._checked_key(key)
        if size is not None:
            self._check_put(key, size)
        return super().put(key, self._bounded(key, data), size=size, attrs=attrs, overwrite=overwrite)

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        return super().put_many(*pair_up(keys, values, self._bounded))

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        if self._max_put:
            self._check_put(target, self._store.size(source))
        return super().copy(source, target, overwrite=overwrite)

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "max_get_bytes": self._max_get, "max_put_bytes": self._max_put}

    def _check_get(self, key: str, size: int) -> None:
        if self._max_get and size > self._max_get:
            raise TooLarge(key, size, self._max_get, "max_get_bytes")

    def _check_put(self, key: str, size: int) -> None:
        if self._max_put and size > self._max_put:
            raise TooLarge(key, size, self._max_put, "max_put_bytes")

    def _bounded(self, key: str, data: Data) -> Data:
        if not self._max_put:
            return data
        if (buffer := as_buffer(data)) is not None:
            self._check_put(key, len(buffer))
            return buffer
        return counted(iter_chunks(key, data), partial(self._check_put, key))


def _checked(setting: str, limit: int | None) -> int | None:
    if limit is not None and limit < 0:
        raise ConfigError(setting, f"{limit} is negative; 0 means no limit")
    return limit or None
