"""Renaming: stores that find each key under another name in another store. Prefixed and Routed are such.

They say where a key is and what a name is called from outside; this says the rest, errors included.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

from valuestore.errors import AlreadyExists, BadKey, NotFound, SizeMismatch, TooLarge
from valuestore.stores.base import (
    Data,
    Json,
    Page,
    SignedUrl,
    Stat,
    Store,
    check_key,
    check_page,
    check_prefix,
)
from valuestore.stores.wrappers.base import batch_around

_OF_A_KEY = (AlreadyExists, BadKey, NotFound, SizeMismatch, TooLarge)


class Renaming(Store):
    """Keys by other names. ``list`` is left to the subclass."""

    @abstractmethod
    def _locate(self, key: str) -> tuple[Store, str]:
        """The store that has ``key``, and the name it has there. Raises: BadKey, StoreClosed."""

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return store.get(name, start, end)

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            known = store.put(name, data, size=size, attrs=attrs, overwrite=overwrite)
        return replace(known, key=key)

    def stat(self, key: str) -> Stat:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return replace(store.stat(name), key=key)

    def size(self, key: str) -> int:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return store.size(name)

    def exists(self, key: str) -> bool:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return store.exists(name)

    def open(self, key: str) -> BinaryIO:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return store.open(name)

    def delete(self, key: str) -> None:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            store.delete(name)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        (store, name), (target_store, target_name) = self._locate(source), self._locate(target)
        if store is not target_store:
            return super().copy(source, target, overwrite=overwrite)
        with self._speaking({name: source, target_name: target}, store):
            return replace(store.copy(name, target_name, overwrite=overwrite), key=target)

    def move(self, source: str, target: str) -> None:
        (store, name), (target_store, target_name) = self._locate(source), self._locate(target)
        if store is not target_store:
            super().move(source, target)
            return
        with self._speaking({name: source, target_name: target}, store):
            store.move(name, target_name)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for store, names in self._by_store(keys):
            with self._speaking(names, store):
                found.update(names[name] for name in store.exists_many(list(names)))
        return found

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        asked = list(keys)
        found: dict[str, bytes] = {}
        for store, names in self._by_store(asked):
            with self._speaking(names, store):
                found.update(zip(names.values(), store.get_many(list(names)), strict=True))
        return [found[key] for key in asked]

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        deleted: set[str] = set()
        for store, names in self._by_store(keys):
            with self._speaking(names, store):
                deleted.update(names[name] for name in store.delete_many(list(names)))
        return deleted

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
    ) -> SignedUrl:
        store, name = self._locate(key)
        with self._speaking({name: key}, store):
            return store.sign(name, method, expires_seconds, content_md5=content_md5)

    def _by_store(self, keys: Iterable[str]) -> list[tuple[Store, dict[str, str]]]:
        """The keys of each store, by the names they have there, in the order given."""
        self._check_open()
        stores: dict[int, tuple[Store, dict[str, str]]] = {}
        for key in keys:
            store, name = self._locate(key)
            stores.setdefault(id(store), (store, {}))[1][name] = key
        return list(stores.values())

    @contextmanager
    def _speaking(self, names: Mapping[str, str], store: Store) -> Iterator[None]:
        """Errors of the block with the keys as they are known outside; others as they are."""
        try:
            yield
        except _OF_A_KEY as error:
            name, *facts = error.args
            key = names.get(name) if isinstance(name, str) else None
            if key is None or (key == name and facts[0] != store.url):
                raise
            where: Sequence[Any] = [self._place(key) if fact == store.url else fact for fact in facts]
            if (key, where) == (name, facts):
                raise
            raise type(error)(key, *where) from error

    def _place(self, key: str) -> str:
        """What messages call the place where ``key`` is."""
        return self.url


# --- Prefixed: the part of a store below a prefix, as a store of its own.


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
