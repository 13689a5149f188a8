"""Store: keys, each with bytes and attributes; the contract that every place for bytes keeps.

It also holds what the stores share and callers see: the one key rule, what an answer looks like, and
``open_store``. A store knows nothing of values, digests of values or SQL, and never interprets a key:
URLs exist in ``open_store`` alone.
"""

from __future__ import annotations

import io
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias, cast
from urllib.parse import urlsplit

from valuestore import plugins
from valuestore.errors import (
    BadKey,
    BadReference,
    ConfigError,
    NotFound,
    NotSupported,
    SizeMismatch,
    StoreClosed,
)
from valuestore.hashing import Bytes

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Data: TypeAlias = Bytes | BinaryIO | Iterable[Bytes]
"""What ``put`` takes: the bytes, an open binary stream (read from where it stands), or pieces of bytes."""

KEY_MAX_BYTES = 1024
CHUNK_BYTES = 1 << 20
"""Streams are read in pieces of this size."""

_PAGE_KEYS = 1000
_ATTRS_MAX_DEPTH = 100
_INT_MAX_BITS = 14_000  # json refuses integers of more than 4300 digits, see sys.set_int_max_str_digits

_KEY = re.compile(r"(?!\.\.?(?:/|\Z))[^/\0]+(?:/(?!\.\.?(?:/|\Z))[^/\0]+)*")


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a key without reading it. ``attrs`` is the caller's own copy."""

    key: str
    size: int
    """In bytes."""
    modified: datetime
    """When it was put; aware, UTC; at least to the second."""
    etag: str
    """Changes exactly when the content does; comparable within one store only. No quotes, no ``W/``."""
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A run of keys in byte order. ``cursor`` is the last key of it, or None exactly when no more follow."""

    keys: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that lets its holder make one kind of request, with the headers that the request must carry."""

    url: str
    headers: dict[str, str]


class Store(ABC):
    """Keys with bytes and attributes. Thread-safe; pickled by configuration; keys as ``check_key`` has them.

    Reads and writes are whole: a put is seen entirely, data and attributes, or not at all. Every method
    raises BadKey for a key that breaks the rule, StoreClosed after ``close``, and StoreUnavailable when
    the place cannot be reached or read: never NotFound for that.
    """

    _closed = False

    # --- the five ---------------------------------------------------------------------------------

    @abstractmethod
    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes at ``key``, or those of the half-open range, which is clamped as a slice is.

        Raises: NotFound.
        """

    @abstractmethod
    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
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

    def open(self, key: str) -> BinaryIO:
        """A stream of the bytes at ``key``, as they were when it was opened. Raises: NotFound."""
        return io.BytesIO(self.get(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that start with ``prefix``, in byte order."""
        self._check_open()
        return self._page_through(prefix)

    def _page_through(self, prefix: str) -> Iterator[str]:
        cursor: str | None = None
        while True:
            page = self.list(prefix, limit=_PAGE_KEYS, cursor=cursor)
            yield from page.keys
            if (cursor := page.cursor) is None:
                return

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

    # --- itself -------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What messages call this store; where it can be opened by URL, that URL. Never holds credentials."""
        return type(self).__name__

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._settings())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _reopen(cls: type[Store], settings: dict[str, Any]) -> Store:
    return cls(**settings)


# --- keys and pages ---------------------------------------------------------------------------------


def check_key(key: object) -> str:
    """The key, if it keeps the one key rule; the same for every store.

    Non-empty ``/``-separated UTF-8 of at most 1024 bytes; no empty, ``.`` or ``..`` segment, no NUL, no
    slash at either end. Raises: BadKey, naming the broken rule.
    """
    if isinstance(key, str) and _KEY.fullmatch(key) is not None:
        if len(key) <= KEY_MAX_BYTES // 4:
            if key.isascii() or _is_utf8(key):
                return key
        elif _is_utf8(key) and len(key.encode()) <= KEY_MAX_BYTES:
            return key
    raise BadKey(key, _broken_rule(key))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken_rule(key: object) -> str:
    if not isinstance(key, str):
        return f"a key is a str, not {type(key).__name__}"
    if not key:
        return "a key is not empty"
    if "\0" in key:
        return "a key holds no NUL"
    if not _is_utf8(key):
        return "a key is UTF-8, which has no lone surrogates"
    if len(key.encode()) > KEY_MAX_BYTES:
        return f"a key has at most {KEY_MAX_BYTES} bytes, this one {len(key.encode())}"
    if key.startswith("/") or key.endswith("/"):
        return "a key neither starts nor ends with a slash"
    return "a key has no empty, '.' or '..' segment"


def check_prefix(prefix: object) -> str:
    """The prefix, if some text could start with it. Raises: BadKey for what is not UTF-8 text."""
    if not isinstance(prefix, str) or not _is_utf8(prefix):
        raise BadKey(prefix, "a prefix is UTF-8 text")
    return prefix


def check_page(limit: int | None, cursor: str | None) -> None:
    """Raises: ValueError for a limit below 1, and (as BadKey) for a cursor that is no key."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}; leave it out to list all keys")
    if cursor is not None:
        check_key(cursor)


def take_page(keys: Iterable[str], limit: int | None) -> Page:
    """The first ``limit`` of ``keys``, which are in byte order and begin after the cursor."""
    if limit is None:
        return Page(list(keys), None)
    taken = list(islice(keys, limit + 1))
    if len(taken) <= limit:
        return Page(taken, None)
    return Page(taken[:limit], taken[limit - 1])


# --- data and attributes ----------------------------------------------------------------------------


def as_buffer(data: Data) -> bytes | memoryview | None:
    """The data as one run of bytes, without a copy where possible; None if it has to be streamed."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        view = memoryview(data)
        return view.cast("B") if view.c_contiguous else view.tobytes()
    return None


def iter_chunks(key: str, data: Data, size: int | None = None) -> Iterator[bytes | memoryview]:
    """The data in pieces, none of them empty. A stream is read as it is asked for, and left open.

    Raises: SizeMismatch as soon as the data is longer than ``size``, or at its end if shorter; TypeError
    for text.
    """
    total = 0
    for chunk in _pieces(data):
        total += len(chunk)
        if size is not None and total > size:
            raise SizeMismatch(key, size, total)
        if chunk:
            yield chunk
    if size is not None and total != size:
        raise SizeMismatch(key, size, total)


def _pieces(data: Any) -> Iterator[bytes | memoryview]:
    if (buffer := as_buffer(data)) is not None:
        yield buffer
        return
    if isinstance(data, str):
        raise TypeError("a store keeps bytes, not str; encode the text first")
    read = getattr(data, "read", None)
    source = iter(lambda: read(CHUNK_BYTES), b"") if read is not None else iter(data)
    for piece in source:
        chunk = as_buffer(piece)
        if chunk is None:
            raise TypeError(f"a store keeps bytes, but the data gave {type(piece).__name__}")
        yield chunk


def copy_attrs(attrs: Mapping[str, Json]) -> dict[str, Any]:
    """An independent copy of the attributes, all the way down.

    Raises: TypeError, naming the place, for anything that JSON would not give back as it was.
    """
    if not isinstance(attrs, Mapping):
        raise TypeError(f"attributes are a mapping, not {type(attrs).__name__}")
    copied = _copy_json(dict(attrs), "attrs", 0)
    return cast(dict[str, Any], copied)


def _copy_json(value: Any, place: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int and value.bit_length() <= _INT_MAX_BITS:
        return value
    if kind is float and math.isfinite(value):
        return value
    if depth > _ATTRS_MAX_DEPTH:
        raise TypeError(f"attributes nest at most {_ATTRS_MAX_DEPTH} deep")
    if kind is list:
        return [_copy_json(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _copy_json(item, f"{place}[{name!r}]", depth + 1) for name, item in value.items()}
    raise TypeError(f"{place} is not a JSON value: {kind.__name__}")


# --- opening by URL ---------------------------------------------------------------------------------


def open_store(url: str | os.PathLike[str], **settings: Any) -> Store:
    """The store that the URL names (``memory://name``, ``file:///path``), or the folder of a plain path.

    ``settings`` go to the store's constructor. Schemes beyond the built-in ones come from plug-ins
    (``valuestore.plugins``, kind ``stores``). Raises: BadReference, naming the schemes there are.
    """
    text = os.fspath(url)
    scheme, separator, _ = text.partition("://")
    if not separator:
        if not text:
            raise BadReference(text, "it is empty; give a folder or a URL")
        return cast(Store, plugins.find("stores", "file")(text, **settings))
    try:
        store = plugins.find("stores", scheme.lower())
    except ConfigError as error:
        known = ", ".join(f"{name}://" for name in plugins.names("stores"))
        raise BadReference(without_credentials(text), f"no such scheme; there are {known}") from error
    return cast(Store, store.from_url(text, **settings))


def without_credentials(url: str) -> str:
    """The URL as messages may show it: no user, no password, no query, no fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://..."
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
