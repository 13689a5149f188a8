"""Calls to the system: what their failures mean to a store, and reads that follow no link and never wait."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from valuestore.errors import StoreError, StoreReadOnly, StoreUnavailable
from valuestore.stores.data import CHUNK_BYTES

# Not blocking, since a FIFO in the way would keep an open waiting for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_IMPOSSIBLE_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, *_IMPOSSIBLE_NAME}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


class Reading:
    """A block in which a call that fails raises StoreUnavailable, with the path and the system's reason."""

    __slots__ = ("_path",)

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise self._tell(error) from error

    def _tell(self, error: OSError) -> StoreError:
        return unavailable(error, self._path)


class Writing(Reading):
    """The same, but what is forbidden raises StoreReadOnly."""

    __slots__ = ()

    def _tell(self, error: OSError) -> StoreError:
        return unwritable(error, self._path)


def unavailable(error: OSError | ValueError, path: bytes) -> StoreUnavailable:
    return StoreUnavailable(os.fsdecode(path), getattr(error, "strerror", None) or str(error))


def unwritable(error: OSError, path: bytes) -> StoreError:
    if error.errno in _READ_ONLY:
        return StoreReadOnly(os.fsdecode(path), error.strerror or str(error))
    return unavailable(error, path)


def look(path: bytes) -> os.stat_result | None:
    """The status of what has that name, links not followed; None if nothing has. Raises: StoreUnavailable."""
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in NOTHING_THERE:
            return None
        raise unavailable(error, path) from error


def open_regular(path: bytes) -> tuple[int, os.stat_result] | None:
    """A descriptor on the file and its status; None for what is no file. Raises: StoreUnavailable."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in NOTHING_THERE:
            return None
        raise unavailable(error, path) from error
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode):
        return fd, found
    close(fd)
    return None


def close(fd: int) -> None:
    """Close what was only read: what is read is read, whatever a failing disk says then."""
    with suppress(OSError):
        os.close(fd)


def read(fd: int, first: int, last: int) -> bytes:
    """The bytes of the file from ``first`` up to ``last``, or up to its end."""
    pieces = []
    while first < last and (piece := os.pread(fd, last - first, first)):
        pieces.append(piece)
        first += len(piece)
    return b"".join(pieces)


def read_file(path: bytes) -> bytes | None:
    """All of a file, None if there is none. Raises: StoreUnavailable."""
    opened = open_regular(path)
    if opened is None:
        return None
    fd, found = opened
    try:
        with Reading(path):
            return read(fd, 0, found.st_size)
    finally:
        close(fd)


def unlink(path: bytes) -> bool:
    """Remove the file if that can be done; whether it was."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def older(folder: bytes, seconds: float) -> Iterator[bytes]:
    """The files of a folder that were last written before that many seconds."""
    limit = time.time() - seconds
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime <= limit:
                    yield entry.path


# --- Streams of values: files whose failures are the store's.


def open_stream(fd: int, path: bytes) -> BinaryIO:
    """What the descriptor reads; it is closed with the stream. Reading raises StoreUnavailable."""
    return io.BufferedReader(_Reader(fd, path), CHUNK_BYTES // 4)


class _Reader(io.FileIO):
    def __init__(self, fd: int, path: bytes) -> None:
        super().__init__(fd, "rb")
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        with Reading(self._path):
            return super().readinto(buffer) or 0

    def readall(self) -> bytes:
        with Reading(self._path):
            return super().readall() or b""
