"""Sized: small values in one store, large ones in another: Redis and S3, say, and nobody notices.

Where both have a key, the small store's value counts. So a change shows at the one instant at which the
small store changes, and what a crash may leave in the large one is out of sight.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from valuestore.errors import AlreadyExists, ConfigError, NotFound
from valuestore.stores.base import Attrs, Data, Stat, Store, as_buffer, find_stat
from valuestore.stores.wrappers.base import look_ahead
from valuestore.stores.wrappers.layering import Union

_LOCKS = 64


class Sized(Union):
    """What has up to ``threshold_bytes`` goes to ``small``, the rest to ``large``.

    A stream of undeclared size is read up to the threshold to tell. Within this object, changes of a key
    come one after the other. Of two programs that put a small and a large value under one key at one
    instant, one wins; but if both only create, both may believe that it was them.
    """

    def __init__(self, small: Store, large: Store, threshold_bytes: int) -> None:
        if threshold_bytes < 0:
            raise ConfigError("threshold_bytes", f"{threshold_bytes} is negative")
        super().__init__(small, large)
        self._threshold = threshold_bytes
        self._locks = [threading.RLock() for _ in range(_LOCKS)]

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._checked_key(key)
        is_small, passed = self._measured(key, data, size)
        with self._changing(key, is_small, overwrite) as (side, twin):
            if attrs is None and twin is not None and not (is_small and side.exists(key)):
                attrs = twin.attrs
            return side.put(key, passed, size=size, attrs=attrs, overwrite=overwrite)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        self._checked_key(target)
        for is_small, holder in zip((True, False), self._stores, strict=True):
            if holder.exists(source):
                with self._changing(target, is_small, overwrite) as (side, _):
                    return side.copy(source, target, overwrite=overwrite)
        raise NotFound(source, self.url)

    @contextmanager
    def _changing(self, key: str, is_small: bool, overwrite: bool) -> Iterator[tuple[Store, Stat | None]]:
        """The side that ``key`` is put to, and what the other has; that goes when the put is done.

        It stays if somebody else has changed it meanwhile: then theirs is the later change.
        """
        side, other = self._stores if is_small else reversed(self._stores)
        with self._locks[hash(key) % _LOCKS]:
            twin = find_stat(other, key)
            if twin is not None and not overwrite:
                raise AlreadyExists(key, self.url)
            yield side, twin
            now = None if twin is None else find_stat(other, key)
            if twin is not None and now is not None and now.etag == twin.etag:
                with suppress(NotFound):
                    other.delete(key)

    def _measured(self, key: str, data: Data, size: int | None) -> tuple[bool, Data]:
        """Whether it is small, and the data to go on with."""
        if size is not None and as_buffer(data) is None:
            return size <= self._threshold, data
        small, passed = look_ahead(key, data, self._threshold)
        return small is not None, passed

    def _settings(self) -> dict[str, Any]:
        small, large = self._stores
        return {"small": small, "large": large, "threshold_bytes": self._threshold}

    __reduce__ = Store.__reduce__
