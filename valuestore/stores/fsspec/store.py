"""FsspecStore: keys on any filesystem that fsspec knows: gs, az, sftp, memory and others; reads http.

Bytes without attributes are verbatim (see Trailer below), at paths that FsspecPaths explains. ``file`` and
``s3`` have stores of their own, which do more at less cost.
"""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, Self
from urllib.parse import quote, unquote, urlsplit

import fsspec

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    BadReference,
    NotFound,
    NotSupported,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.hashing import get_algorithm, hash_stream
from valuestore.redaction import may_hold_secret
from valuestore.stores.base import (
    Attrs,
    Data,
    Page,
    Stat,
    Store,
    check_key,
    check_prefix,
    copy_attrs,
    iter_chunks,
    take_page,
    without_credentials,
)
from valuestore.stores.fsspec.filesystem import Body, FsspecFilesystem
from valuestore.stores.keys import lock_for

_LOOKS_TRIED = 40
_SPOOL_BYTES = 8 << 20
_TIMES = ("modified", "mtime", "LastModified", "last_modified", "updated", "created")


class FsspecStore(Store):
    """Keys on the filesystem of an fsspec URL, with ``options`` for that filesystem.

    Every put is whole or not there. Of two who create a key at once one wins, in different processes only
    on S3 and Google Cloud. A listing looks at everything below its prefix. ``stat`` reads a value that has no
    attributes, for its etag; ``size`` and ``exists`` do not. Deadlines are those of the filesystem.

    A pickle, like ``url``, leaves out credentials and every option whose name looks like one: where it is
    opened, the filesystem asks its usual places. Raises: BadReference.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._full_url = url.removeprefix("fsspec+")
        self._options = options
        self._filesystem = FsspecFilesystem(self._full_url, without_password(self._full_url), options)
        known = fsspec.available_protocols()
        if "://" not in self._full_url or "::" in self._full_url or self._filesystem.protocol not in known:
            raise BadReference(without_credentials(url), "fsspec has no such filesystem")
        parts = urlsplit(self._full_url)
        if parts.query or parts.fragment:
            raise BadReference(without_credentials(url), "options of an fsspec URL are given as arguments")
        try:
            root = self._filesystem.root
        except ImportError as error:
            problem = f"{error}: install that package beside valuestore[fsspec]"
            raise BadReference(without_credentials(url), problem) from error
        self._paths = FsspecPaths(root, directories=self._filesystem.has_directories)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        path = self._path(key)
        if start == 0 and end is None:
            data = self._filesystem.cat(key, path)
            length = trailer_length(data[-FOOT_BYTES:])
            return data[:-length] if length and read_trailer(data) is not None else data
        size = self._look(key)[0]
        first, last, _step = slice(start, end).indices(size)
        return self._filesystem.cat(key, path, first, last) if first < last else b""

    def open(self, key: str) -> BinaryIO:
        """As everywhere; where a filesystem reads in blocks, a large value has to stay meanwhile."""
        size = self._look(key)[0]
        if size <= _SPOOL_BYTES or self._filesystem.is_memory:
            return io.BytesIO(self.get(key))
        stream = self._filesystem.do(key, lambda: self._filesystem.fs.open(self._path(key), "rb"))
        return io.BufferedReader(Body(self._filesystem, key, stream, size))

    def stat(self, key: str) -> Stat:
        for attempt in range(_LOOKS_TRIED):
            time.sleep(attempt / 1000)  # whoever writes in a loop needs a moment to be done
            size, info, etag, attrs = self._look(key)
            if not etag:
                with self.open(key) as stream:
                    etag = hash_stream(stream)
            if self._info(key) == info:
                return Stat(key, size, _modified(info), etag, attrs)
        raise StoreUnavailable(self.url, f"others change {key!r} too often")

    def size(self, key: str) -> int:
        return self._look(key)[0]

    def exists(self, key: str) -> bool:
        try:
            self._info(key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        return take_page((key for key in self._keys(prefix) if cursor is None or key > cursor), limit)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """As everywhere, from one look at the filesystem."""
        self._check_open()
        return iter(self._keys(check_prefix(prefix)))

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        path = self._path(key)
        self._check_writable()
        wanted = None if attrs is None else copy_attrs(attrs)
        hasher, count, last = get_algorithm().new(), 0, b""
        with NamedTemporaryFile(prefix="valuestore-") as spool:
            held: io.BytesIO | Any = io.BytesIO()
            for chunk in iter_chunks(key, data, size):
                hasher.update(chunk)
                count += len(chunk)
                last = (last + bytes(chunk[-len(MAGIC) :]))[-len(MAGIC) :]
                if held is not spool and count > _SPOOL_BYTES:
                    spool.write(held.getbuffer())
                    held = spool
                held.write(chunk)
            with lock_for(os.fsencode(path)):
                if not overwrite and self.exists(key):
                    raise AlreadyExists(key, self.url)
                kept = self._kept(key) if wanted is None and overwrite else wanted or {}
                etag = hasher.hexdigest()
                held.write(make_trailer(etag, kept, last))
                held.flush()
                self._filesystem.write(key, path, self._paths.temp(), held, create=not overwrite)
                return Stat(key, count, _modified(self._info(key)), etag, copy_attrs(kept))

    def delete(self, key: str) -> None:
        path = self._path(key)
        self._check_writable()
        with lock_for(os.fsencode(path)):
            self._info(key)
            self._filesystem.do(key, lambda: self._filesystem.fs.rm_file(path), writing=True, finding=True)

    def close(self) -> None:
        super().close()
        self._filesystem.close()

    @property
    def url(self) -> str:
        return self._filesystem.url

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        return cls(url, **settings)

    def _settings(self) -> dict[str, Any]:
        return {"url": self.url, **without_secrets(self._options)}

    def _path(self, key: str) -> str:
        return self._paths.path(self._checked_key(key))

    def _check_writable(self) -> None:
        if self._filesystem.is_web:
            raise StoreReadOnly(self.url, "over HTTP one reads")

    def _info(self, key: str) -> dict[str, Any]:
        return self._filesystem.info(key, self._path(key))

    def _look(self, key: str) -> tuple[int, dict[str, Any], str, dict[str, Any]]:
        """Size, what the filesystem tells, and etag and attributes if there is a trailer."""
        path, info = self._path(key), self._info(key)
        whole = info["size"] if info.get("size") is not None else len(self._filesystem.cat(key, path))
        if whole < FOOT_BYTES:
            return whole, info, "", {}
        length = trailer_length(self._filesystem.cat(key, path, whole - FOOT_BYTES, whole))
        trailer = (
            read_trailer(self._filesystem.cat(key, path, whole - length, whole))
            if 0 < length <= whole
            else None
        )
        if trailer is None:
            return whole, info, "", {}
        return whole - trailer.length, info, trailer.etag, trailer.attrs

    def _kept(self, key: str) -> dict[str, Any]:
        try:
            return self._look(key)[3]
        except NotFound:
            return {}

    def _keys(self, prefix: str) -> Sequence[str]:
        if self._filesystem.is_web:
            raise NotSupported(self.url, "listings", "ask for keys that you know")
        folder = self._paths.folder(prefix) if "\0" not in prefix else self._paths.root
        try:
            found = self._filesystem.do("", lambda: self._filesystem.fs.find(folder))
        except NotFound:
            return []
        keys = (self._paths.key(path) for path in found)
        return sorted(key for key in keys if key is not None and key.startswith(prefix))


def _modified(info: Mapping[str, Any]) -> datetime:
    """When the object was written, as far as the filesystem tells."""
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(1970, 1, 1, tzinfo=UTC)


# --- Trailer: attributes of an object on a filesystem that keeps none, behind the bytes and atomic with them.
#
# Without attributes an object is its bytes, verbatim. With attributes it ends so::
#
#     <bytes> <JSON: {"etag": ..., "attrs": ...}> <length of the JSON, 4 bytes> <MAGIC>
#
# Bytes that happen to end with the magic get a trailer too, so that the last 20 bytes always tell.


MAGIC = b"\x00valuestore-1\xff\xfe\x00"
FOOT_BYTES = 4 + len(MAGIC)


@dataclass(frozen=True, slots=True)
class Trailer:
    """What stands behind the bytes. ``length`` counts all of it."""

    etag: str
    attrs: dict[str, Any]
    length: int


def make_trailer(etag: str, attrs: Mapping[str, Any], last_bytes: bytes) -> bytes:
    """What to append to bytes that end with ``last_bytes``; empty if they may stand alone."""
    if not attrs and not last_bytes.endswith(MAGIC):
        return b""
    text = json.dumps({"etag": etag, "attrs": attrs}, separators=(",", ":")).encode()
    return text + len(text).to_bytes(4, "big") + MAGIC


def trailer_length(foot: bytes) -> int:
    """How long the trailer is, by the last bytes of an object; 0 if there is none."""
    if len(foot) < FOOT_BYTES or not foot.endswith(MAGIC):
        return 0
    return int.from_bytes(foot[-FOOT_BYTES : -len(MAGIC)], "big") + FOOT_BYTES


def read_trailer(tail: bytes) -> Trailer | None:
    """The trailer that ``tail``, an object or the end of it, ends with; None if there is none."""
    length = trailer_length(tail)
    if not 0 < length <= len(tail):
        return None
    try:
        item = json.loads(tail[len(tail) - length : -FOOT_BYTES])
        return Trailer(str(item["etag"]), copy_attrs(item["attrs"]), length)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


# --- FsspecPaths: which path of a filesystem a key has, and which key a path.
#
# What a filesystem might take for something else is percent-encoded. Where directories are real, a key may
# lie beside keys below it and have long segments, so there a directory's name ends with ``=``, or with ``+``
# if the segment goes on in the next name: ``ab/ab3f`` is ``ab=/ab3f``. On an object store it is ``ab/ab3f``.
# Names beginning with ``+`` are no keys: ``+tmp/`` holds what is being written.


_NAME_MAX = 200
_SAFE = "!',;@"


class FsspecPaths:
    """Paths below a root, with or without real directories."""

    def __init__(self, root: str, *, directories: bool) -> None:
        self.root = root.rstrip("/")
        self._mark = "=" if directories else ""

    def path(self, key: str) -> str:
        names = [quote(segment, safe=_SAFE) for segment in key.split("/")]
        if self._mark:
            names = ["+/".join(_cut(name)) for name in names]
        return f"{self.root}/{(self._mark + '/').join(names)}"

    def key(self, path: str) -> str | None:
        """The key that has this path; None if none has."""
        if not path.startswith(self.root + "/"):
            return None
        rest = path[len(self.root) + 1 :]
        if rest.startswith("+"):
            return None
        joined = rest.replace("+/", "").replace("=/", "/") if self._mark else rest
        try:
            key = check_key(unquote(joined, errors="strict"))
        except (BadKey, UnicodeDecodeError):
            return None
        return key if self.path(key) == path else None

    def folder(self, prefix: str) -> str:
        """A directory that all keys with that prefix are below."""
        above, slash, _ = prefix.rpartition("/")
        return self.path(f"{above}/x").rpartition("/")[0] if slash and above else self.root

    def temp(self) -> str:
        """A new path that is no key's."""
        return f"{self.root}/+tmp/{uuid.uuid4().hex}"


def _cut(name: str) -> list[str]:
    return [name[at : at + _NAME_MAX] for at in range(0, len(name), _NAME_MAX)]


# --- What of an fsspec URL and its options may be shown and pickled. Called by FsspecStore.


def without_password(url: str) -> str:
    """The URL with the user, who may be a container of Azure, but without the password."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    user, at, host = netloc.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options but for those whose names look like credentials, and for objects, which may hold some."""
    return {
        name: without_secrets(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if not may_hold_secret(name) and (value is None or isinstance(value, str | int | float | Mapping))
    }
