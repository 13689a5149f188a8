"""FsspecStore: keys on any filesystem that fsspec knows: gs, az, sftp, memory and others; reads http.

Bytes without attributes are verbatim (``fsspec_trailer``), at paths that ``fsspec_paths`` explains. ``file``
and ``s3`` have stores of their own, which do more at less cost.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any, BinaryIO, Self, TypeVar, cast
from urllib.parse import urlsplit

import fsspec

from valuestore.errors import (
    AlreadyExists,
    BadReference,
    NotFound,
    NotSupported,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.hashing import get_algorithm
from valuestore.stores.base import (
    CHUNK_BYTES,
    Data,
    Json,
    Page,
    Stat,
    Store,
    check_key,
    check_page,
    check_prefix,
    copy_attrs,
    iter_chunks,
    take_page,
    without_credentials,
)
from valuestore.stores.fsspec_paths import FsspecPaths
from valuestore.stores.fsspec_trailer import FOOT_BYTES, MAGIC, make_trailer, read_trailer, trailer_length

_T = TypeVar("_T")

_SPOOL_BYTES = 8 << 20
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "http", "https"}
"""Here directories are not real, and an object is whole or not there."""
_WHOLE = {*_OBJECTS, "memory"}
_CREATES = {"s3", "s3a", "gs", "gcs"}
"""Here the server itself refuses the second of two creators."""
_WEB = {"http", "https"}
_TIMES = ("modified", "mtime", "LastModified", "last_modified", "updated", "created")
_SECRET = re.compile("key|secret|token|passw|credential|conn|sas|auth|user|cert|cookie|header", re.I)

_locks = [Lock() for _ in range(64)]


def _renew_locks() -> None:
    _locks[:] = [Lock() for _ in range(64)]


os.register_at_fork(after_in_child=_renew_locks)


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
        self._protocol = self._full_url.partition("://")[0].lower()
        self._options = options
        if "://" not in self._full_url or "::" in self._full_url or self._protocol not in _known():
            raise BadReference(without_credentials(url), "fsspec has no such filesystem")
        parts = urlsplit(self._full_url)
        if parts.query or parts.fragment:
            raise BadReference(without_credentials(url), "options of an fsspec URL are given as arguments")
        self._filesystems: dict[int, Any] = {}
        self._paths = self._find_paths()

    # --- reading ------------------------------------------------------------------------------------

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        path = self._path(key)
        if start == 0 and end is None:
            data = self._cat(key, path)
            length = trailer_length(data[-FOOT_BYTES:])
            return data[:-length] if length and read_trailer(data) is not None else data
        size = self._look(key)[0]
        first, last, _step = slice(start, end).indices(size)
        return self._cat(key, path, first, last) if first < last else b""

    def open(self, key: str) -> BinaryIO:
        """As everywhere; where a filesystem reads in blocks, a large value has to stay meanwhile."""
        size = self._look(key)[0]
        if size <= _SPOOL_BYTES or self._protocol == "memory":
            return io.BytesIO(self.get(key))
        stream = self._do(key, lambda: self._fs.open(self._path(key), "rb"))
        return io.BufferedReader(_Body(self, key, stream, size))

    def stat(self, key: str) -> Stat:
        for _ in range(5):
            size, info, etag, attrs = self._look(key)
            if not etag:
                hasher = get_algorithm().new()
                with self.open(key) as stream:
                    while chunk := stream.read(CHUNK_BYTES):
                        hasher.update(chunk)
                etag = hasher.hexdigest()
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
        self._check_open()
        check_prefix(prefix)
        check_page(limit, cursor)
        return take_page((key for key in self._keys(prefix) if cursor is None or key > cursor), limit)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """As everywhere, from one look at the filesystem."""
        self._check_open()
        return iter(self._keys(check_prefix(prefix)))

    # --- writing ------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
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
            with _locks[hash((self.url, key)) % len(_locks)]:
                if not overwrite and self.exists(key):
                    raise AlreadyExists(key, self.url)
                kept = self._kept(key) if wanted is None and overwrite else wanted or {}
                etag = hasher.hexdigest()
                held.write(make_trailer(etag, kept, last))
                held.flush()
                self._write(key, path, held, create=not overwrite)
                return Stat(key, count, _modified(self._info(key)), etag, copy_attrs(kept))

    def delete(self, key: str) -> None:
        path = self._path(key)
        self._check_writable()
        with _locks[hash((self.url, key)) % len(_locks)]:
            self._info(key)
            self._do(key, lambda: self._fs.rm_file(path), writing=True)

    # --- itself -------------------------------------------------------------------------------------

    def close(self) -> None:
        super().close()
        fs = self._filesystems.pop(os.getpid(), None)
        session = getattr(fs, "_session", None) or getattr(fs, "_s3creator", None)
        if session is not None and hasattr(fs, "close_session"):
            with suppress(Exception):
                fs.close_session(fs.loop, session)

    @property
    def url(self) -> str:
        return _without_password(self._full_url)

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        return cls(url, **settings)

    def _settings(self) -> dict[str, Any]:
        return {"url": self.url, **_without_secrets(self._options)}

    def _path(self, key: str) -> str:
        self._check_open()
        return self._paths.path(check_key(key))

    # --- the filesystem -----------------------------------------------------------------------------

    @property
    def _fs(self) -> Any:
        """The filesystem. It holds the credentials: it is not stored, hashed, logged or pickled."""
        process = os.getpid()
        if (fs := self._filesystems.get(process)) is None:
            given = {"use_listings_cache": False, "skip_instance_cache": True} | self._options
            if self._protocol in ("file", "local"):
                given |= {"auto_mkdir": True}
            made = fsspec.core.url_to_fs(self._full_url, **given)[0]
            fs = self._filesystems.setdefault(process, made)
        return fs

    def _find_paths(self) -> FsspecPaths:
        cls = fsspec.get_filesystem_class(self._protocol)
        root = str(cls._strip_protocol(self._full_url))
        return FsspecPaths(root, directories=self._protocol not in _OBJECTS)

    def _check_writable(self) -> None:
        if self._protocol in _WEB:
            raise StoreReadOnly(self.url, "over HTTP one reads")

    def _do(self, key: str, work: Callable[[], _T], *, writing: bool = False) -> _T:
        """What the filesystem answers; whatever it raises as a typed error, without what it may quote."""
        try:
            return work()
        except StoreError:
            raise
        except FileNotFoundError:
            raise NotFound(key, self.url) from None
        except FileExistsError:
            raise AlreadyExists(key, self.url) from None
        except NotImplementedError as error:
            raise NotSupported(self.url, str(error) or "that") from None
        except PermissionError:
            if writing:
                raise StoreReadOnly(self.url, "access denied") from None
            raise StoreUnavailable(self.url, "access denied") from None
        except Exception as error:  # each filesystem raises what it likes
            reason = type(error).__name__
            if isinstance(error, OSError) and error.strerror:
                raise StoreUnavailable(self.url, f"{reason}: {error.strerror}") from error
            raise StoreUnavailable(self.url, reason) from None

    def _info(self, key: str) -> dict[str, Any]:
        path = self._path(key)
        info = self._do(key, lambda: self._fs.info(path))
        if info.get("type", "file") != "file":
            raise NotFound(key, self.url)
        return cast(dict[str, Any], info)

    def _cat(self, key: str, path: str, start: int | None = None, end: int | None = None) -> bytes:
        return bytes(self._do(key, lambda: self._fs.cat_file(path, start=start, end=end)))

    def _look(self, key: str) -> tuple[int, dict[str, Any], str, dict[str, Any]]:
        """Size, what the filesystem tells, and etag and attributes if there is a trailer."""
        path, info = self._path(key), self._info(key)
        whole = info["size"] if info.get("size") is not None else len(self._cat(key, path))
        if whole < FOOT_BYTES:
            return whole, info, "", {}
        length = trailer_length(self._cat(key, path, whole - FOOT_BYTES, whole))
        trailer = read_trailer(self._cat(key, path, whole - length, whole)) if 0 < length <= whole else None
        if trailer is None:
            return whole, info, "", {}
        return whole - trailer.length, info, trailer.etag, trailer.attrs

    def _kept(self, key: str) -> dict[str, Any]:
        try:
            return self._look(key)[3]
        except NotFound:
            return {}

    def _keys(self, prefix: str) -> Sequence[str]:
        if self._protocol in _WEB:
            raise NotSupported(self.url, "listings", "ask for keys that you know")
        folder = self._paths.folder(prefix) if "\0" not in prefix else self._paths.root
        try:
            found = self._do("", lambda: self._fs.find(folder))
        except NotFound:
            return []
        keys = (self._paths.key(path) for path in found)
        return sorted(key for key in keys if key is not None and key.startswith(prefix))

    def _write(self, key: str, path: str, held: Any, *, create: bool) -> None:
        """Have the object hold what was held, at one instant."""
        fs, mode = self._fs, "create" if create and self._protocol in _CREATES else "overwrite"
        target = path if self._protocol in _WHOLE else self._paths.temp()

        def write() -> None:
            if isinstance(held, io.BytesIO):
                fs.pipe_file(target, held.getvalue(), **({"mode": mode} if mode == "create" else {}))
            elif self._protocol == "memory":
                held.seek(0)
                fs.pipe_file(target, held.read())
            else:
                fs.put_file(held.name, target, **({"mode": mode} if mode == "create" else {}))
            if target != path:
                fs.makedirs(path.rpartition("/")[0], exist_ok=True)
                fs.mv(target, path)

        try:
            if target != path:
                self._do(key, lambda: fs.makedirs(target.rpartition("/")[0], exist_ok=True), writing=True)
            self._do(key, write, writing=True)
        except BaseException:
            if target != path:
                with suppress(Exception):
                    fs.rm_file(target)
            raise


class _Body(io.RawIOBase):
    """The first bytes of a file of the filesystem: all but the trailer."""

    def __init__(self, store: FsspecStore, key: str, stream: Any, size: int) -> None:
        self._store, self._key, self._stream, self._left = store, key, stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._left)
        piece = self._store._do(self._key, lambda: self._stream.read(wanted)) if wanted else b""
        if wanted and not piece:
            raise StoreUnavailable(self._store.url, f"{self._key!r} ended {self._left} bytes too early")
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _without_password(url: str) -> str:
    """The URL with the user, who may be a container of Azure, but without the password."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    user, at, host = netloc.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"


def _known() -> set[str]:
    return set(fsspec.available_protocols())


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


def _without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_secrets(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if not _SECRET.search(name) and (value is None or isinstance(value, str | int | float | Mapping))
    }
