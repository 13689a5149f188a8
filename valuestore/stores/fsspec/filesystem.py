"""FsspecFilesystem: the filesystem that an fsspec URL names, in typed errors and with whole writes.

It knows paths, not keys: ``key`` is the caller's, for messages. Called by ``fsspec`` and its streams.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import fsspec

from valuestore.errors import (
    AlreadyExists,
    NotFound,
    NotSupported,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    is_foreign,
)
from valuestore.lazy import PerProcess
from valuestore.stores.streams import Stream

_T = TypeVar("_T")

_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "http", "https"}
"""Here directories are not real, and an object is whole or not there."""
_WHOLE = {*_OBJECTS, "memory"}
_CREATES = {"s3", "s3a", "gs", "gcs"}
"""Here the server itself refuses the second of two creators."""
_WEB = {"http", "https"}


class FsspecFilesystem:
    """The filesystem, opened on first use and anew in each process. ``url`` is what messages show."""

    def __init__(self, full_url: str, url: str, options: Mapping[str, Any]) -> None:
        self.url = url
        self.protocol = full_url.partition("://")[0].lower()
        self._full_url = full_url
        self._options = options
        self._opened = PerProcess(self._open)

    @property
    def root(self) -> str:
        """The path that the URL means."""
        return str(fsspec.get_filesystem_class(self.protocol)._strip_protocol(self._full_url))

    @property
    def has_directories(self) -> bool:
        """Whether they are real, so that a name cannot be a file's too."""
        return self.protocol not in _OBJECTS

    @property
    def is_web(self) -> bool:
        """Whether one can but read what one knows the name of."""
        return self.protocol in _WEB

    @property
    def is_memory(self) -> bool:
        return self.protocol == "memory"

    @property
    def fs(self) -> Any:
        """fsspec's object. It holds the credentials: it is not stored, hashed, logged or pickled."""
        return self._opened.get()

    def _open(self) -> Any:
        given: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True, **self._options}
        if self.protocol in ("file", "local"):
            given |= {"auto_mkdir": True}
        return fsspec.core.url_to_fs(self._full_url, **given)[0]

    def do(self, key: str, work: Callable[[], _T], *, writing: bool = False, finding: bool = False) -> _T:
        """What the filesystem answers; whatever it raises as a typed error, without what it may quote.

        Raises: NotFound, unless it is ``writing`` and not ``finding`` first what has to be there.
        """
        try:
            return work()
        except BaseException as error:
            if not is_foreign(error):
                raise
            cause = error if isinstance(error, OSError) and error.strerror else None
            raise self._typed(error, key, writing, finding or not writing) from cause

    def _typed(self, error: BaseException, key: str, writing: bool, finding: bool) -> StoreError:
        if isinstance(error, FileNotFoundError) and finding:
            return NotFound(key, self.url)
        if isinstance(error, FileExistsError):
            return AlreadyExists(key, self.url)
        if isinstance(error, NotImplementedError):
            return NotSupported(self.url, str(error) or "that")
        reason = type(error).__name__
        if isinstance(error, PermissionError):
            if writing:
                return StoreReadOnly(self.url, "access denied")
            reason = "access denied"
        elif isinstance(error, ImportError):
            reason = f"{error}: install that package beside valuestore[fsspec]"
        elif isinstance(error, OSError) and error.strerror:
            reason = f"{reason}: {error.strerror}"
        unavailable = StoreUnavailable(self.url, reason)
        unavailable.cause = type(error).__name__
        return unavailable

    def info(self, key: str, path: str) -> dict[str, Any]:
        """What the filesystem tells of a file. Raises: NotFound."""
        info = self.do(key, lambda: self.fs.info(path))
        if info.get("type", "file") != "file":
            raise NotFound(key, self.url)
        return cast(dict[str, Any], info)

    def cat(self, key: str, path: str, start: int | None = None, end: int | None = None) -> bytes:
        return bytes(self.do(key, lambda: self.fs.cat_file(path, start=start, end=end)))

    def write(self, key: str, path: str, temp: str, held: Any, *, create: bool) -> None:
        """Have the file hold what was held (a BytesIO or a named file), at one instant.

        ``temp`` is a path to write to first, where a file that is being written can be seen. With ``create``
        the server refuses the second of two creators, if it can. Raises: AlreadyExists; StoreReadOnly.
        """
        target = path if self.protocol in _WHOLE else temp
        try:
            if target != path:
                folder = target.rpartition("/")[0]
                self.do(key, lambda: self.fs.makedirs(folder, exist_ok=True), writing=True)
            mode = {"mode": "create"} if create and self.protocol in _CREATES else {}
            self.do(key, lambda: self._send(target, held, mode), writing=True)
            if target != path:
                self.do(key, lambda: self._rename(target, path), writing=True)
        except BaseException:
            if target != path:
                with suppress(StoreError):
                    self.do(key, lambda: self.fs.rm_file(target))
            raise

    def _send(self, target: str, held: Any, mode: Mapping[str, str]) -> None:
        if isinstance(held, io.BytesIO):
            self.fs.pipe_file(target, held.getvalue(), **mode)
        elif self.is_memory:
            held.seek(0)
            self.fs.pipe_file(target, held.read())
        else:
            self.fs.put_file(held.name, target, **mode)

    def _rename(self, target: str, path: str) -> None:
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.fs.mv(target, path)

    def close(self) -> None:
        fs: Any = self._opened.take()
        session = getattr(fs, "_session", None) or getattr(fs, "_s3creator", None)
        if session is not None and hasattr(fs, "close_session"):
            with suppress(Exception):
                fs.close_session(fs.loop, session)


# --- Body: the first bytes of a file of a filesystem, all but the trailer. Called by ``FsspecStore.open``.


class Body(Stream):
    """``size`` bytes of the stream, which it closes. Raises StoreUnavailable where they break off."""

    def __init__(self, filesystem: FsspecFilesystem, key: str, stream: Any, size: int) -> None:
        super().__init__(size, stream)
        self._filesystem, self._key = filesystem, key

    def _read(self, count: int) -> bytes:
        piece: bytes = self._filesystem.do(self._key, lambda: self._stream.read(count))
        if not piece:
            missing = self._size - self._at
            raise StoreUnavailable(self._filesystem.url, f"{self._key!r} ended {missing} bytes too early")
        return piece

    def _begin(self, position: int) -> int:
        return int(self._filesystem.do(self._key, lambda: self._stream.seek(position)))
