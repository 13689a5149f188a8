"""Store: keys, each with bytes and attributes; the contract that every place for bytes keeps.

A store knows nothing of values, digests of values or SQL, and never interprets a key: URLs exist in
``open_store`` alone. What stores share lies beside, and can be imported from here: ``keys`` (the one key
rule, and pages of keys) and ``data`` (what is put, its attributes, and what is answered).
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import wraps
from typing import Any, BinaryIO, Self

from valuestore.errors import BadReference, NotFound, NotSupported, StoreClosed, StoreUnavailable, is_foreign
from valuestore.lazy import lazy_names
from valuestore.redaction import without_credentials
from valuestore.stores.data import (
    CHUNK_BYTES,
    Attrs,
    Data,
    Json,
    Page,
    SignedUrl,
    Stat,
    as_buffer,
    copy_attrs,
    iter_chunks,
)
from valuestore.stores.keys import KEY_MAX_BYTES, check_key, check_page, check_prefix, take_page

__all__ = [  # what those who write a store need
    "CHUNK_BYTES",
    "KEY_MAX_BYTES",
    "Attrs",
    "Data",
    "Json",
    "Page",
    "SignedUrl",
    "Stat",
    "Store",
    "as_buffer",
    "check_key",
    "check_page",
    "check_prefix",
    "copy_attrs",
    "iter_chunks",
    "open_store",  # noqa: F822  # see __getattr__
    "take_page",
    "without_credentials",
]

_PAGE_KEYS = 1000

_OF_A_KEY = {"get", "put", "stat", "delete", "exists", "size", "map", "open", "copy", "move", "sign"}
_TELLING = {*_OF_A_KEY, "list", "exists_many", "get_many", "put_many", "delete_many", "flush"}
"""The verbs of a store that tell a StoreUnavailable what it is about, whoever writes the store."""

__getattr__, *_ = lazy_names("valuestore.stores", {"open": "open_store"})  # open.py stands above this


class Store(ABC):
    """Keys with bytes and attributes. Thread-safe; pickled by configuration; keys as ``check_key`` has them.

    Reads and writes are whole: a put is seen entirely, data and attributes, or not at all. Every method
    raises BadKey for a key that breaks the rule, StoreClosed after ``close``, and StoreUnavailable when
    the place cannot be reached or read: never NotFound for that.
    """

    _closed = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        _make_border(cls)

    # --- the five ---------------------------------------------------------------------------------

    @abstractmethod
    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes at ``key``, or those of the half-open range, which is clamped as a slice is.

        Raises: NotFound.
        """

    @abstractmethod
    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        """Store ``data`` under ``key``. Atomic: readers see the old value or the new, never a mixture.

        ``data`` may be empty; a stream is read but not closed. ``size`` must match exactly if given.
        ``attrs`` replaces the attributes; None keeps those that the key has.
        Raises: AlreadyExists if ``overwrite`` is false and the key is taken; SizeMismatch; TypeError for
        attributes that are not JSON; StoreReadOnly. After any error the key is as it was.
        """

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """What is known of ``key``. Raises: NotFound."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove ``key`` with its attributes. Raises: NotFound, StoreReadOnly."""

    @abstractmethod
    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        """At most ``limit`` keys that start with ``prefix`` and come after ``cursor``, in byte order.

        The prefix is one of bytes: ``"a"`` covers ``"ab/3"``. None as the limit means all.
        Raises: ValueError for a limit below 1 or a cursor that is no key.
        """

    # --- on top of them; overridden for speed -------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Whether there is something at ``key``. Reads no data."""
        try:
            self.size(key)
        except NotFound:
            return False
        return True

    def size(self, key: str) -> int:
        """How many bytes are at ``key``. Raises: NotFound."""
        return self.stat(key).size

    def map(self, key: str) -> memoryview:
        """The data, read-only; where a store can, it is a memory map of the data as it was at that moment."""
        return memoryview(self.get(key))

    def open(self, key: str) -> BinaryIO:
        """A stream of the bytes at ``key``, as they were when it was opened; it seeks. Raises: NotFound."""
        return io.BytesIO(self.get(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, in byte order."""
        self._check_open()
        return page_through(self, prefix)

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        """What is known of each key that starts with ``prefix``, in byte order.

        Where a listing tells key, size and time alone, ``etag`` and ``attrs`` are empty; ``stat`` has them.
        """
        for key in self.keys(prefix):
            with suppress(NotFound):  # gone meanwhile
                yield self.stat(key)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """How keys begin that start with ``prefix``: each up to the next slash and with it, in byte order."""
        cursor, last = None, ""
        while True:
            page = self.list(prefix, limit=_PAGE_KEYS, cursor=cursor)
            for key in page.keys:
                folder = key[: key.find("/", len(prefix)) + 1]
                if folder not in ("", last):
                    yield folder
                    last = folder
            if (cursor := page.cursor) is None:
                return
            if last and cursor.startswith(last) and len(last.encode()) <= KEY_MAX_BYTES - 4:
                cursor = last + "\U0010ffff"  # past what else is in that folder

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        """Store what is at ``source``, attributes included, under ``target`` too.

        Raises: NotFound, and then ``target`` is untouched; AlreadyExists if it is taken and not to be
        overwritten.
        """
        known = self.stat(source)
        with self.open(source) as stream:
            return self.put(target, stream, attrs=known.attrs, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        """Have ``target`` hold what is at ``source``, attributes included, and ``source`` nothing.

        Here it copies and then deletes, so for a moment both are there. Raises: NotFound.
        """
        if source == target:
            self.size(source)  # which raises if nothing is there
            return
        self.copy(source, target)
        self.delete(source)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that there is something at."""
        return {key for key in keys if self.exists(key)}

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        """The bytes at each key, in the order asked for. Raises: NotFound, naming the first missing."""
        return [self.get(key) for key in keys]

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        """Store each value under its key; each put is atomic, all of them together are not.

        Raises: ValueError if there are more of one than of the other, after storing the pairs there are.
        """
        return [self.put(key, data) for key, data in zip(keys, values, strict=True)]

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        """Delete those of the keys that are there, and return them."""
        deleted = set()
        for key in keys:
            try:
                self.delete(key)
            except NotFound:
                continue
            deleted.add(key)
        return deleted

    def batch(self) -> AbstractContextManager[Store]:
        """A store whose changes become visible together when the block ends, or not at all if it raises.

        Raises: NotSupported where that cannot be had.
        """
        raise NotSupported(self.url, "batches")

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
    ) -> SignedUrl:
        """A URL by which somebody without credentials may GET or PUT ``key`` for a while.

        Raises: NotSupported, here and for any other method.
        """
        check_key(key)
        raise NotSupported(self.url, "signed URLs", "read and write through the store")

    def flush(self) -> None:
        """Return when everything put so far is as durable as the store was configured to make it."""
        self._check_open()

    def close(self) -> None:
        """Release what the store holds. Anything but another ``close`` then raises StoreClosed."""
        self._closed = True

    @property
    def is_remote(self) -> bool:
        """Whether each call is a request to a server, so that to create costs no more than to look first."""
        return False

    @property
    def url(self) -> str:
        """What messages call this store; where it can be opened by URL, that URL. Never holds credentials."""
        return type(self).__name__

    def losses(self) -> Sequence[str]:
        """By which of its policies the server may forget what it acknowledged; empty if none is known.

        Raises: StoreError.
        """
        return ()

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:  # noqa: ARG003 - for stores that have URLs
        """The store that the URL names. Raises: BadReference."""
        raise BadReference(without_credentials(url), f"{cls.__name__} is not opened by URL")

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments: all that a pickle of this store holds."""
        return {}

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(self.url)

    def _checked_key(self, key: str) -> str:
        self._check_open()
        return check_key(key)

    def _check_listing(self, prefix: str, limit: int | None, cursor: str | None) -> None:
        self._check_open()
        check_prefix(prefix)
        check_page(limit, cursor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._settings())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_border(cls: type[Any]) -> None:
    for verb in _TELLING & cls.__dict__.keys():
        setattr(cls, verb, _telling(verb, cls.__dict__[verb]))


def _telling(verb: str, work: Any) -> Any:
    """The method as a border: a StoreUnavailable that passes it is told the verb, its key and its size.

    In the store of somebody else, what we do not know becomes one, unless arguments or a stream raised it.
    """
    is_theirs = not work.__module__.startswith("valuestore.")

    @wraps(work)
    def telling(self: Store, *args: Any, **keywords: Any) -> Any:
        try:
            return work(self, *args, **keywords)
        except StoreUnavailable as error:
            _tell(error, verb, args, keywords)
            raise
        except BaseException as error:
            if not is_theirs or not is_foreign(error) or isinstance(error, TypeError | ValueError):
                raise
            if verb.startswith("put") and as_buffer(_data(args, keywords)) is None:
                raise
            unavailable = StoreUnavailable(self.url, f"{type(error).__name__}: {error}"[:300])
            unavailable.cause = type(error).__name__
            _tell(unavailable, verb, args, keywords)
            raise unavailable from error

    return telling


def _tell(error: StoreUnavailable, verb: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    error.operation = verb
    error.cause = error.cause or (type(error.__cause__).__name__ if error.__cause__ else "")
    if verb in _OF_A_KEY:
        error.key = str(args[0] if args else keywords.get("key", keywords.get("source")))
    if verb == "put":
        buffer = as_buffer(_data(args, keywords))
        error.size = keywords.get("size") if buffer is None else len(buffer)


def _data(args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    return args[1] if len(args) > 1 else keywords.get("data")


_make_border(Store)


def _reopen(cls: type[Store], settings: dict[str, Any]) -> Store:
    return cls(**settings)


def find_stat(store: Store, key: str) -> Stat | None:
    """What the store knows of ``key``; None if there is nothing."""
    try:
        return store.stat(key)
    except NotFound:
        return None


def page_through(
    store: Store, prefix: str, cursor: str | None = None, limit: int | None = None
) -> Iterator[str]:
    """The keys that start with ``prefix`` and come after ``cursor``, asked for a page at a time.

    Whoever wants no more than ``limit`` of them, and to know whether others follow, has them in one page.
    """
    size = _PAGE_KEYS if limit is None else min(limit + 1, _PAGE_KEYS)
    while True:
        page = store.list(prefix, limit=size, cursor=cursor)
        yield from page.keys
        if (cursor := page.cursor) is None:
            return
