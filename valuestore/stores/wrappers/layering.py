"""Layered: a store that takes all changes, over one that is read only where the first has nothing.

A change touches the upper store alone (a delete excepted: what is deleted is gone), until ``push`` moves a
key down. Both decide, so an error of either is the caller's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, BinaryIO, TypeVar

from valuestore.errors import AlreadyExists, NotFound, NotSupported
from valuestore.stores.base import Data, Page, SignedUrl, Stat, Store, check_key, check_page, take_page
from valuestore.stores.wrappers.base import Attrs

# --- Union: two stores read as one; where both have a key, it is the upper one's. Where puts go, others say.


_A = TypeVar("_A")
_PAGE_KEYS = 1000


class Union(Store):
    """Reading, listing and deleting. A subclass says where a put goes."""

    def __init__(self, upper: Store, lower: Store) -> None:
        self._upper = upper
        self._lower = lower

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        return self._first(lambda store: store.get(key, start, end))

    def open(self, key: str) -> BinaryIO:
        return self._first(lambda store: store.open(key))

    def map(self, key: str) -> memoryview:
        return self._first(lambda store: store.map(key))

    def stat(self, key: str) -> Stat:
        return self._first(lambda store: store.stat(key))

    def size(self, key: str) -> int:
        return self._first(lambda store: store.size(key))

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        check_page(limit, cursor)
        size = _PAGE_KEYS if limit is None else min(limit + 1, _PAGE_KEYS)
        merged = heapq.merge(*(_keys(store, prefix, size, cursor) for store in (self._upper, self._lower)))
        return take_page((key for key, _ in groupby(merged)), limit)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        found = self._upper.exists_many(asked)
        return found | self._lower.exists_many([key for key in asked if key not in found])

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        asked = list(map(check_key, keys))
        above = self._upper.exists_many(asked)
        places = [(self._upper, list(above)), (self._lower, [key for key in asked if key not in above])]
        found: dict[str, bytes] = {}
        try:
            for store, names in places:
                found.update(zip(names, store.get_many(names), strict=True))
        except NotFound:  # not there; or moved from one to the other just now
            return [self.get(key) for key in asked]
        return [found[key] for key in asked]

    def delete(self, key: str) -> None:
        """Remove ``key`` from both: from below first, so that it does not reappear."""
        if not self.delete_many([key]):
            raise NotFound(key, self.url)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(map(check_key, keys))
        return self._lower.delete_many(asked) | self._upper.delete_many(asked)

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        """A URL to read from the store that has ``key``. Raises: NotSupported for any other method."""
        if method.upper() not in ("GET", "HEAD"):
            raise NotSupported(self.url, f"signed URLs to {method}", "put through the store")
        holder = self._upper if self._upper.exists(key) else self._lower
        return holder.sign(key, method, expires_seconds, content_md5=content_md5)

    def flush(self) -> None:
        self._upper.flush()
        self._lower.flush()

    def close(self) -> None:
        super().close()
        self._upper.close()
        self._lower.close()

    @property
    def url(self) -> str:
        return self._lower.url

    def _settings(self) -> dict[str, Any]:
        return {"upper": self._upper, "lower": self._lower}

    def _check_open(self) -> None:
        super()._check_open()
        self._upper._check_open()
        self._lower._check_open()

    def _first(self, ask: Callable[[Store], _A]) -> _A:
        """The answer of the first that has the key: of the upper, the lower, and the upper again.

        The last, since it may have come up after the first look and before the second.
        """
        for store in (self._upper, self._lower, self._upper):
            try:
                return ask(store)
            except NotFound as error:
                missing = error
        raise NotFound(missing.args[0], self.url) from missing


def _keys(store: Store, prefix: str, size: int, cursor: str | None) -> Iterator[str]:
    while True:
        page = store.list(prefix, limit=size, cursor=cursor)
        yield from page.keys
        if (cursor := page.cursor) is None:
            return


class Layered(Union):
    """Two stores, of which the upper one takes what is put."""

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        """As everywhere, into the upper store. Attributes to keep are copied up from where they are."""
        self._check_open()
        if not overwrite and self._lower.exists(check_key(key)):
            raise AlreadyExists(key, self.url)
        if attrs is None and not self._upper.exists(key):
            try:
                attrs = self._lower.stat(key).attrs
            except NotFound:
                attrs = None
        return self._upper.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

    def push(self, key: str) -> None:
        """Move ``key`` from the upper store to the lower. It can be read all the while.

        Raises: NotFound if the upper store does not have it.
        """
        while True:
            known = self._upper.stat(key)
            with self._upper.open(key) as stream:
                self._lower.put(key, stream, attrs=known.attrs)
            now = self._upper.stat(key)
            if (now.etag, now.attrs) == (known.etag, known.attrs):
                self._upper.delete(key)
                return
