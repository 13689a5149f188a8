"""Wrapper: a store that hands everything to the one below it. Each policy overrides what it is about.

It owns the store below: closing it closes that one. Its URL is that one's too, so that messages name the
place where the bytes are, whatever is wrapped around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

from valuestore.stores.base import Data, Json, Page, SignedUrl, Stat, Store


class Wrapper(Store):
    """Everything as the store below does it. ``_settings`` of a subclass names all of its arguments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        return self._store.get(key, start, end)

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        return self._store.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

    def stat(self, key: str) -> Stat:
        return self._store.stat(key)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        return self._store.list(prefix, limit=limit, cursor=cursor)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def size(self, key: str) -> int:
        return self._store.size(key)

    def open(self, key: str) -> BinaryIO:
        return self._store.open(key)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        return self._store.copy(source, target, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        self._store.move(source, target)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        return self._store.exists_many(keys)

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        return self._store.get_many(keys)

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        return self._store.put_many(keys, values)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        return self._store.delete_many(keys)

    def batch(self) -> AbstractContextManager[Store]:
        return batch_around(self._store.batch(), self._over)

    def _over(self, store: Store) -> Store:
        """The same policy over another store."""
        return type(self)(**{**self._settings(), "store": store})

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
    ) -> SignedUrl:
        return self._store.sign(key, method, expires_seconds, content_md5=content_md5)

    def flush(self) -> None:
        self._store.flush()

    def close(self) -> None:
        super().close()
        self._store.close()

    @property
    def url(self) -> str:
        return self._store.url

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store}

    def _check_open(self) -> None:
        super()._check_open()
        self._store._check_open()


@contextmanager
def batch_around(batch: AbstractContextManager[Store], wrap: Callable[[Store], Store]) -> Iterator[Store]:
    """A batch of the store below, in what ``wrap`` puts around it. The store has been asked already."""
    with batch as changes:
        yield wrap(changes)


def pair_up(
    keys: Iterable[str], values: Iterable[Data], change: Callable[[str, Data], Data]
) -> tuple[Sequence[str], Iterator[Data]]:
    """Arguments for ``put_many``: each value as ``change`` makes it for its key, one at a time.

    A surplus of either stays one, so that the store below finds it.
    """
    listed = list(keys)

    def changed() -> Iterator[Data]:
        for index, value in enumerate(values):
            yield change(listed[index], value) if index < len(listed) else value

    return listed, changed()
