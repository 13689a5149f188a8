"""Temporary: a file under a name that nobody looks for, until the commit renames it into place."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Self

from valuestore.hashing import get_algorithm
from valuestore.stores.data import Data, iter_chunks
from valuestore.stores.files.posix import Writing, older, unlink, unwritable
from valuestore.stores.files.root import Root
from valuestore.stores.files.unsynced import sync

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_STATUS = os.stat_result((0,) * 10)


class Temporary:
    """As a block, it is discarded if the block raises.

    ``found`` is its status as of ``finish``; ``sidecar`` the path of its attributes, if it has any.
    """

    def __init__(self, path: bytes, found: os.stat_result = _NO_STATUS) -> None:
        self.path = path
        self.found = found
        self.sidecar: bytes | None = None
        self._fd = -1

    @classmethod
    def create(cls, root: Root) -> Self:
        """An empty one. Raises: StoreReadOnly, StoreUnavailable."""
        temp = cls(temporary_path(root))
        mode = 0o666 if root.file_mode is None else root.file_mode
        with Writing(temp.path):
            try:
                temp._fd = os.open(temp.path, _CREATE, mode)
            except FileNotFoundError:
                root.make_folders(temp.path)
                temp._fd = os.open(temp.path, _CREATE, mode)
            if root.file_mode is not None and mode & 0o077:  # which the umask may have taken
                os.fchmod(temp._fd, mode)
        return temp

    def fill(self, key: str, data: Data, size: int | None) -> str:
        """Write all of the data and close the file; the digest of it. Errors of a stream pass."""
        hasher = get_algorithm().new()
        for chunk in iter_chunks(key, data, size):
            hasher.update(chunk)
            self.write(chunk)
        self.finish()
        return hasher.hexdigest()

    def write(self, chunk: bytes | memoryview) -> None:
        try:
            while (written := os.write(self._fd, chunk)) < len(chunk):
                chunk = memoryview(chunk)[written:]
        except OSError as error:
            raise unwritable(error, self.path) from error

    def finish(self) -> None:
        """Close it; file systems that write late report their errors here."""
        try:
            self.found = os.fstat(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)
        except OSError as error:
            raise unwritable(error, self.path) from error

    def make_unique(self) -> None:
        """Stamp it to the nanosecond: the kernel's clock ticks slowly, and inodes are used again."""
        now = time.time_ns()
        os.utime(self.path, ns=(now, now))
        self.found = os.lstat(self.path)

    def sync(self) -> None:
        """Have it on the disk, attributes and all."""
        sync(self.path)
        if self.sidecar is not None:
            sync(self.sidecar)

    def drop_sidecar(self) -> None:
        if self.sidecar is not None:
            unlink(self.sidecar)
            self.sidecar = None

    def discard(self) -> None:
        """Leave nothing behind, unless the file got its name just before the interruption.

        The sidecar goes first: once the inode is free, it could match another file.
        """
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
        with suppress(OSError):
            if os.lstat(self.path).st_nlink == 1:
                self.drop_sidecar()
            os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self.discard()


def temporary_path(root: Root) -> bytes:
    return root.temps + os.urandom(12).hex().encode()


def sweep_temporaries(root: Root, seconds: float) -> int:
    """Remove those that were last written before that many seconds; how many."""
    return sum(unlink(path) for path in older(root.temps, seconds))
