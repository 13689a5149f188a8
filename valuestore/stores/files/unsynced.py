"""Unsynced: the files and folders that a flush has to sync. In a store that is not durable, always none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Lock

from valuestore.lazy import renew_after_fork
from valuestore.stores.files.posix import close, unavailable, unlink


class Unsynced:
    """What changed since the last flush. ``durable`` says if anybody wants to know."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self._files: dict[bytes, None] = {}
        self._folders: dict[bytes, None] = {}

    def add(self, path: bytes) -> None:
        """A file got its name or its content."""
        if self.durable:
            with _lock:
                self._files[path] = None
                self._folders[os.path.dirname(path)] = None

    def add_folders(self, paths: Iterable[bytes]) -> None:
        """Names in these folders came or went."""
        if self.durable:
            with _lock:
                self._folders.update(dict.fromkeys(paths))

    def sync(self) -> None:
        """Sync all, files before folders. A file that cannot be synced is removed: see ``FileStore.flush``.

        One at a time: who calls it while another thread syncs returns only when its own data is safe.
        Raises: StoreUnavailable, for the first that failed, after trying all.
        """
        failures: list[OSError] = []
        with _syncing:
            with _lock:
                files, self._files = self._files, {}
                folders, self._folders = self._folders, {}
            for path in (*files, *folders):
                try:
                    sync(path)
                except SyncFailed as failure:
                    failures.append(failure)
                    if path in files:
                        unlink(path)
                except OSError as error:  # it could not even be opened: a later flush may do it
                    failures.append(error)
                    with _lock:
                        (self._files if path in files else self._folders)[path] = None
        if failures:
            raise unavailable(failures[0], failures[0].filename) from failures[0]


class SyncFailed(OSError):
    """The system tried to write, and could not: what the disk holds is unknown."""


def sync(path: bytes) -> None:
    """Sync one file or folder; what is gone by now needs none. Raises: SyncFailed, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        os.fsync(fd)
    except OSError as error:
        raise SyncFailed(error.errno, error.strerror, path) from error
    finally:
        close(fd)


_lock = Lock()
_syncing = Lock()


@renew_after_fork
def _renew_lock() -> None:
    global _lock, _syncing
    _lock, _syncing = Lock(), Lock()
