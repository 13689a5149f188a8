"""Prefixed: the part of a store below a prefix, as a store of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from valuestore.stores.base import Data, Page, Stat, Store, check_key, check_page, check_prefix
from valuestore.stores.wrappers.base import batch_around
from valuestore.stores.wrappers.renaming import Renaming


class Prefixed(Renaming):
    """Keys are those of the store below that start with ``prefix/``, without that.

    No key reaches anything beside them. The prefix counts towards the length of a key, so the longest here
    is shorter by it. Raises: BadKey for a prefix that is no key; an outer slash at its end is taken off.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = check_key(prefix.removesuffix("/")) + "/"

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_open()
        check_prefix(prefix)
        check_page(limit, cursor)
        after = None if cursor is None else self._prefix + cursor
        page = self._store.list(self._prefix + prefix, limit=limit, cursor=after)
        skip = len(self._prefix)
        return Page([key[skip:] for key in page.keys], page.cursor and page.cursor[skip:])

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        listed = list(keys)
        names = [self._locate(key)[1] for key in listed]
        with self._speaking(dict(zip(names, listed, strict=True)), self._store):
            stats = self._store.put_many(names, values)
        return [replace(known, key=key) for known, key in zip(stats, listed, strict=True)]

    def batch(self) -> AbstractContextManager[Store]:
        return batch_around(self._store.batch(), lambda changes: Prefixed(changes, self._prefix))

    def flush(self) -> None:
        self._store.flush()

    def close(self) -> None:
        super().close()
        self._store.close()

    @property
    def url(self) -> str:
        return f"{self._store.url.rstrip('/')}/{self._prefix.removesuffix('/')}"

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "prefix": self._prefix}

    def _check_open(self) -> None:
        super()._check_open()
        self._store._check_open()

    def _locate(self, key: str) -> tuple[Store, str]:
        self._check_open()
        return self._store, self._prefix + check_key(key)
