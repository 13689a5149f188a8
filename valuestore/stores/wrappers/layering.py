"""Layered: a store that takes all changes, over others, each read only where those before it have nothing.

A change touches the first store alone (a delete excepted: what is deleted is gone), until ``push`` moves a
key down. All of them decide, so an error of any is the caller's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from valuestore.errors import AlreadyExists, ConfigError, NotFound, NotSupported
from valuestore.stores.base import (
    Attrs,
    Data,
    Page,
    SignedUrl,
    Stat,
    Store,
    check_key,
    check_page,
    find_stat,
    page_through,
    take_page,
)
from valuestore.stores.wrappers.base import Answer, Ask, Through, Verb, rebuild

# --- Union: stores read as one; where several have a key, it is the first one's. Where puts go, others say.


class Union(Through):
    """Reading, listing and deleting. A subclass says where a put goes; the rest is made of these."""

    def __init__(self, *stores: Store) -> None:
        if len(stores) < 2:
            raise ConfigError("stores", f"there have to be two or more, not {len(stores)}")
        self._stores = stores

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        """What is read at a key, from the first that has it; what is of no key, from each."""
        if keys:
            return self._first(lambda store: ask(store, keys))
        *_, answer = [ask(store, keys) for store in self._stores]
        return answer

    scan = Store.scan
    folders = Store.folders
    exists = Store.exists
    copy = Store.copy
    move = Store.move
    put_many = Store.put_many
    batch = Store.batch

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        check_page(limit, cursor)
        merged = heapq.merge(*(page_through(store, prefix, cursor, limit) for store in self._stores))
        return take_page((key for key, _ in groupby(merged)), limit)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        found: set[str] = set()
        for store in self._stores:
            found |= store.exists_many([key for key in asked if key not in found])
        return found

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        asked = list(map(check_key, keys))
        found: dict[str, bytes] = {}
        try:
            for index, store in enumerate(self._stores, 1):
                names = [key for key in asked if key not in found]
                if index < len(self._stores):
                    names = list(store.exists_many(names))
                found.update(zip(names, store.get_many(names), strict=True))
        except NotFound:  # not there; or moved from one to another just now
            return [self.get(key) for key in asked]
        return [found[key] for key in asked]

    def delete(self, key: str) -> None:
        """Remove ``key`` from all: from the last first, so that it does not reappear."""
        if not self.delete_many([key]):
            raise NotFound(key, self.url)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(map(check_key, keys))
        return set().union(*[store.delete_many(asked) for store in reversed(self._stores)])

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        """A URL to read from the store that has ``key``. Raises: NotSupported for any other method."""
        if method.upper() not in ("GET", "HEAD"):
            raise NotSupported(self.url, f"signed URLs to {method}", "put through the store")
        *others, last = self._stores
        holder = next((store for store in others if store.exists(key)), last)
        return holder.sign(key, method, expires_seconds, content_md5=content_md5)

    @property
    def is_remote(self) -> bool:
        return any(store.is_remote for store in self._stores)

    @property
    def url(self) -> str:
        return self._stores[-1].url

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self._stores, self._settings())

    def _check_open(self) -> None:
        super()._check_open()
        for store in self._stores:
            store._check_open()

    def _first(self, ask: Callable[[Store], Answer]) -> Answer:
        """The answer of the first that has the key: of each in order, and then of all but the last again.

        Those, since it may have come up after the look there and before the one below.
        """
        for store in (*self._stores, *self._stores[:-1]):
            try:
                return ask(store)
            except NotFound as error:
                missing = error
        raise NotFound(missing.args[0], self.url) from missing


class Layered(Union):
    """Two stores or more, of which the first takes what is put, and hides what the others have at a key."""

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        """As everywhere, into the first store. Attributes to keep are copied up from where they are."""
        self._checked_key(key)
        first, *others = self._stores
        if not overwrite and any(store.exists(key) for store in others):
            raise AlreadyExists(key, self.url)
        if attrs is None and not first.exists(key):
            hidden = next(filter(None, (find_stat(store, key) for store in others)), None)
            attrs = None if hidden is None else hidden.attrs
        return first.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

    def push(self, key: str) -> None:
        """Move ``key`` from the first store to the one after it. It can be read all the while.

        Raises: NotFound if the first store does not have it.
        """
        first, second, *_ = self._stores
        while True:
            known = first.stat(key)
            with first.open(key) as stream:
                second.put(key, stream, attrs=known.attrs)
            now = first.stat(key)
            if (now.etag, now.attrs) == (known.etag, known.attrs):
                first.delete(key)
                return
