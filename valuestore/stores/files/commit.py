"""Commit: a written file gets its name, after what it needs was written and before what it replaces goes."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Any

from valuestore.errors import AlreadyExists, NotSupported, StoreUnavailable
from valuestore.stores.files.places import OddKeys, Places
from valuestore.stores.files.posix import Writing, look, unlink
from valuestore.stores.files.root import Root
from valuestore.stores.files.sidecars import Sidecars, encode_sidecar
from valuestore.stores.files.temporary import Temporary, temporary_path
from valuestore.stores.files.unsynced import Unsynced

_ATTEMPTS = 100
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Commit:
    """How the files of one root get their names. Its caller holds the key's lock."""

    def __init__(
        self, root: Root, places: Places, odd: OddKeys, sidecars: Sidecars, unsynced: Unsynced
    ) -> None:
        self._root = root
        self._places = places
        self._odd = odd
        self._sidecars = sidecars
        self._unsynced = unsynced

    def place(
        self, temp: Temporary, raw: bytes, wanted: dict[str, Any] | None, *, overwrite: bool
    ) -> dict[str, Any]:
        """Rename the file into place with its attributes, which are returned. Tries again if folders move.

        None as ``wanted`` keeps the attributes there. Raises: AlreadyExists, NotSupported, StoreReadOnly,
        StoreUnavailable; then the key is as it was.
        """
        with Writing(self._root.path + raw):
            for _ in range(_ATTEMPTS):
                path, old = self._places.find(raw)
                if old is not None and not overwrite:
                    raise AlreadyExists(raw.decode(), self._root.url)
                kept = self._sidecars.load_to_keep(raw, old) if wanted is None else wanted
                self._prepare(temp, raw, path, kept)
                if old is not None and self._unsynced.durable:
                    temp.sync()
                if self._name(temp, path, overwrite):
                    self._settle(temp, raw, path, old)
                    return kept
        raise StoreUnavailable(self._root.url, f"the folders of {raw.decode()!r} keep changing")

    def _prepare(self, temp: Temporary, raw: bytes, path: bytes, attrs: dict[str, Any]) -> None:
        """What has to be there before the data: its attributes, and for an odd key, the key."""
        temp.drop_sidecar()
        if attrs:
            temp.make_unique()
            temp.sidecar = self._sidecars.path(raw, temp.found)
            self._write(temp.sidecar, encode_sidecar(raw, attrs))
        if self._odd.holds(path):
            name = self._odd.name_path(path)
            self._write(name, raw)
            self._unsynced.add(name)

    def _write(self, path: bytes, content: bytes) -> None:
        """A file of the store's own."""
        with Temporary.create(self._root) as temp:
            temp.write(content)
            temp.finish()
            try:
                os.replace(temp.path, path)
            except FileNotFoundError:
                self._root.make_folders(path)
                os.replace(temp.path, path)

    def _name(self, temp: Temporary, path: bytes, overwrite: bool) -> bool:
        """Give the file its name. False if something has to be seen to first, and now was."""
        try:
            if overwrite:
                os.replace(temp.path, path)
            else:
                self._link(temp.path, path)
            return True
        except FileNotFoundError:
            if look(temp.path) is None:
                raise StoreUnavailable(os.fsdecode(temp.path), "it was removed while in use") from None
            self._root.make_folders(path)
        except FileExistsError:
            self._clear(path)
        except (IsADirectoryError, NotADirectoryError):
            pass
        return False

    def _link(self, temp: bytes, path: bytes) -> None:
        """Rename, unless the name is taken."""
        try:
            os.link(temp, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            no_links = "its file system has no hard links"
            raise NotSupported(self._root.url, "overwrite=False", no_links) from error
        unlink(temp)

    def _clear(self, path: bytes) -> None:
        """Move a link, FIFO or the like out of the way. What turns out to be a value goes back."""
        found = look(path)
        if found is None or stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            return
        aside = temporary_path(self._root)
        with suppress(FileNotFoundError):
            os.rename(path, aside)
            if stat.S_ISREG(os.lstat(aside).st_mode):
                with suppress(FileExistsError):
                    os.link(aside, path)
            os.unlink(aside)

    def _settle(self, temp: Temporary, raw: bytes, path: bytes, old: os.stat_result | None) -> None:
        """After the commit: drop what is not needed any more, remember what is to be synced."""
        if old is not None:
            unlink(self._sidecars.path(raw, old))
        self._unsynced.add(path)
        if temp.sidecar is not None:
            self._unsynced.add(temp.sidecar)
