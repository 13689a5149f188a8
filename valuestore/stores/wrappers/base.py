"""Wrapper: a store around another. Each verb passes one place, ``_through``, where a policy has its say.

A policy overrides that, and besides it the verbs of which it has to see more than the keys: ``put`` with its
data, say. A wrapper owns the store below: closing it closes that one. Its URL is that one's too, so that
messages name the place where the bytes are, whatever is wrapped around it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from typing import Any, BinaryIO, Literal, TypeVar, get_args

from valuestore.stores.base import Attrs, Data, Page, SignedUrl, Stat, Store, as_buffer, iter_chunks

Reading = Literal[
    "get", "map", "open", "stat", "size", "exists", "list", "scan", "folders", "exists_many", "get_many"
]
Changing = Literal["put", "delete", "copy", "move", "put_many", "delete_many", "batch"]
Verb = Reading | Changing | Literal["sign", "losses", "flush", "close"]
CHANGES: frozenset[str] = frozenset(get_args(Changing))

Answer = TypeVar("Answer")
Ask = Callable[[Store, Sequence[str]], Answer]


class Through(Store):
    """The verbs of a store, each by way of ``_through``; ``keys`` alone is made of another, ``list``."""

    @abstractmethod
    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        """What ``ask`` answers, given a store below and what the keys are called there, in the same order.

        ``keys`` are those that the verb is about, unchecked; the prefix of a ``list``; none where it is about
        all. What reads may be asked again; a change may not be the same when it is asked again.
        """

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        return self._through("get", (key,), lambda store, names: store.get(names[0], start, end))

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        return self._through(
            "put",
            (key,),
            lambda store, names: store.put(names[0], data, size=size, attrs=attrs, overwrite=overwrite),
        )

    def stat(self, key: str) -> Stat:
        return self._through("stat", (key,), lambda store, names: store.stat(names[0]))

    def delete(self, key: str) -> None:
        self._through("delete", (key,), lambda store, names: store.delete(names[0]))

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        return self._through(
            "list", (prefix,), lambda store, names: store.list(names[0], limit=limit, cursor=cursor)
        )

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        return self._through("scan", (prefix,), lambda store, names: store.scan(names[0]))

    def folders(self, prefix: str = "") -> Iterator[str]:
        return self._through("folders", (prefix,), lambda store, names: store.folders(names[0]))

    def exists(self, key: str) -> bool:
        return self._through("exists", (key,), lambda store, names: store.exists(names[0]))

    def size(self, key: str) -> int:
        return self._through("size", (key,), lambda store, names: store.size(names[0]))

    def map(self, key: str) -> memoryview:
        return self._through("map", (key,), lambda store, names: store.map(names[0]))

    def open(self, key: str) -> BinaryIO:
        return self._through("open", (key,), lambda store, names: store.open(names[0]))

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        return self._through(
            "copy", (source, target), lambda store, names: store.copy(*names, overwrite=overwrite)
        )

    def move(self, source: str, target: str) -> None:
        self._through("move", (source, target), lambda store, names: store.move(*names))

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        return self._through("exists_many", list(keys), lambda store, names: store.exists_many(names))

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        return self._through("get_many", list(keys), lambda store, names: store.get_many(names))

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        return self._through("put_many", list(keys), lambda store, names: store.put_many(names, values))

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        return self._through("delete_many", list(keys), lambda store, names: store.delete_many(names))

    def batch(self) -> AbstractContextManager[Store]:
        below = self._through("batch", (), lambda store, _: store.batch())
        return batch_around(below, lambda store: type(self)(**{**self._settings(), "store": store}))

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        return self._through(
            "sign",
            (key,),
            lambda store, names: store.sign(names[0], method, expires_seconds, content_md5=content_md5),
        )

    def losses(self) -> Sequence[str]:
        return self._through("losses", (), lambda store, _: store.losses())

    def flush(self) -> None:
        self._through("flush", (), lambda store, _: store.flush())

    def close(self) -> None:
        super().close()
        self._through("close", (), lambda store, _: store.close())


class Wrapper(Through):
    """Everything as the one store below does it. ``_settings`` of a subclass names all of its arguments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        return ask(self._store, keys)

    @property
    def is_remote(self) -> bool:
        return self._store.is_remote

    @property
    def url(self) -> str:
        return self._store.url

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store}

    def _check_open(self) -> None:
        super()._check_open()
        self._store._check_open()


def rebuild(cls: Callable[..., Store], stores: Sequence[Any], settings: Mapping[str, Any]) -> Store:
    """What a pickle of a wrapper with any number of stores, or observers, is opened by."""
    return cls(*stores, **settings)


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


def look_ahead(key: str, data: Data, most: int) -> tuple[bytes | memoryview | None, Data]:
    """The data if it has at most so many bytes, or None; and the data to go on with."""
    if (buffer := as_buffer(data)) is not None:
        return (buffer if len(buffer) <= most else None), buffer
    chunks, head, total = iter_chunks(key, data), [], 0
    for chunk in chunks:
        head.append(bytes(chunk))
        total += len(chunk)
        if total > most:
            return None, chain(head, chunks)
    whole = b"".join(head)
    return whole, whole
