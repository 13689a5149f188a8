"""Root: the one folder that a store keeps everything below, and the store's own folders in it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from urllib.parse import quote

from valuestore.errors import BadReference, NotFound, StoreUnavailable
from valuestore.permissions import folder_mode
from valuestore.stores.files.posix import Writing, look
from valuestore.stores.files.unsynced import Unsynced

PRIVATE = b".vs~"


class Root:
    """The folder, found or made. ``path`` and the paths of its own folders end with a slash.

    Raises: NotFound without ``create`` if there is no such folder; BadReference if it is not a folder.
    """

    def __init__(
        self, folder: str, *, create: bool, unsynced: Unsynced, file_mode: int | None = None
    ) -> None:
        self.url = "file://" + quote(os.fsencode(folder))
        self.path = os.path.join(os.fsencode(folder), b"")
        self.private = self.path + PRIVATE + b"/"
        self.temps = self.private + b"tmp/"
        self.attrs = self.private + b"attrs/"
        self.odd = self.private + b"odd/"
        self._create = create
        self._unsynced = unsynced
        self.file_mode = file_mode
        self._device, self.name_max = self._open()
        self._check_own_folders()

    def missing(self, key: str) -> NotFound:
        """The error to raise. Raises: StoreUnavailable if the folder cannot tell that the key is missing."""
        self._is_there()
        return NotFound(key, self.url)

    def make_folders(self, path: bytes) -> None:
        """Make the missing folders above ``path``. Who finds somebody at work there looks again."""
        if not self._is_there():
            self._make()
        end = path.find(b"/", len(self.path))
        while end >= 0:
            try:
                self._make_folder(path[:end])
            except FileExistsError:
                pass
            except (FileNotFoundError, NotADirectoryError):
                return
            else:
                self._unsynced.add_folders([os.path.dirname(path[:end])])
            end = path.find(b"/", end + 1)

    def leave(self, path: bytes) -> None:
        """After a file went: its folders go too if that emptied them, up to the first that it did not."""
        folder = os.path.dirname(path)
        self._unsynced.add_folders([folder])
        with suppress(OSError):
            while len(folder) >= len(self.path) and not path.startswith(self.private):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def _open(self) -> tuple[int, int]:
        """The device that the folder is on, and how many bytes a name there may have."""
        with Writing(self.path):
            try:
                if self._create:
                    self._make()
                return os.stat(self.path).st_dev, os.pathconf(self.path, "PC_NAME_MAX")
            except FileNotFoundError:
                raise NotFound(os.fsdecode(self.path[:-1]), "the file system") from None
            except (FileExistsError, NotADirectoryError):
                raise BadReference(self.url, "it is not a folder") from None

    def _make(self) -> None:
        made_in, folder = [], self.path[:-1]
        while folder and not os.path.isdir(folder):
            folder = os.path.dirname(folder)
            made_in.append(folder)
        if made_in:
            os.makedirs(os.path.dirname(self.path[:-1]) or b".", exist_ok=True)
            try:
                self._make_folder(self.path[:-1])
            except FileExistsError:
                if not os.path.isdir(self.path):
                    raise
        self._unsynced.add_folders(made_in)

    def _make_folder(self, path: bytes) -> None:
        if self.file_mode is None:
            os.mkdir(path)
            return
        mode = folder_mode(self.file_mode)
        os.mkdir(path, mode)
        if mode & stat.S_IWGRP:  # which the umask may have taken
            os.chmod(path, mode)

    def _check_own_folders(self) -> None:
        for folder in (self.private, self.temps, self.attrs, self.odd):
            own = look(folder[:-1])
            if own is not None and not stat.S_ISDIR(own.st_mode):
                raise BadReference(self.url, f"{os.fsdecode(folder[:-1])} in it is not a folder")

    def _is_there(self) -> bool:
        """Whether the folder is; one that should be, and is not, was unmounted: its keys are not lost.

        Raises: StoreUnavailable for that.
        """
        found = look(self.path)
        if found is None and not self._create:
            raise StoreUnavailable(self.url, "the folder is gone")
        if found is not None and found.st_dev != self._device:
            raise StoreUnavailable(self.url, "another device is mounted there than when it was opened")
        return found is not None
