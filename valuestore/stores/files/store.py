"""FileStore: keys as files below one folder, so that other tools can read what is kept.

A key is a path below the root, and its file holds exactly the value's bytes. The store's own things lie
in ``.vs~/`` there::

    tmp/<random>                        what is being written; renamed into place when whole
    attrs/<key digest>-<inode>-<mtime>  the attributes of the very file with that inode and mtime_ns
    odd/<key digest>, <...>.key         values whose key cannot be a path, and what that key is

Odd keys are those with a segment too long for the file system, those below ``.vs~``, and those whose path
crosses another key's (both ``p`` and ``p/x`` may exist). A file at the path wins over an odd one.

Attributes are bound to one file, so that they change at the same instant as the data: the attributes are
written first, named for a file nobody sees yet, and renaming that file into place is the commit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from mmap import ACCESS_READ, mmap
from threading import Lock
from typing import Any, BinaryIO, Self
from urllib.parse import unquote_to_bytes, urlsplit

from valuestore.errors import AlreadyExists, BadReference, ConfigError, NotFound, StoreUnavailable
from valuestore.hashing import hash_stream
from valuestore.stores.base import (
    Attrs,
    Data,
    Page,
    Stat,
    Store,
    check_key,
    check_page,
    check_prefix,
    copy_attrs,
    take_page,
    without_credentials,
)
from valuestore.stores.files.commit import Commit
from valuestore.stores.files.places import OddKeys, Places
from valuestore.stores.files.posix import Writing, close, open_stream, read, unavailable, unlink
from valuestore.stores.files.root import Root
from valuestore.stores.files.sidecars import Sidecars
from valuestore.stores.files.temporary import Temporary, sweep_temporaries
from valuestore.stores.files.unsynced import Unsynced
from valuestore.stores.keys import lock_for

# --- Etags: the digest of a file's bytes, remembered while the file's status shows that it is the same.


_SETTLED_NS = 2_000_000_000
"""A file older than this shows every later change in its timestamps, however coarse the clock behind them."""

_REMEMBERED = 65_536


class Etags:
    """Those of the files that were asked for, up to a number of them."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def etag(self, fd: int, found: os.stat_result) -> str:
        """The digest of the file, whose status was just taken. Raises: OSError."""
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(identity)
        if known is not None:
            return known
        began = time.time_ns()
        with open(fd, "rb", buffering=0, closefd=False) as stream:
            stream.seek(0)
            etag = hash_stream(stream)
        if max(found.st_mtime_ns, found.st_ctime_ns) < began - _SETTLED_NS:
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            self._known[identity] = etag
        return etag


_STALE_SECONDS = 3600.0


class FileStore(Store):
    """Keys as files below ``root``. For POSIX, not Windows, and file systems that tell upper from lower case.

    ``durability="fast"`` is safe against killed processes. ``"full"`` is also safe against power loss:
    ``flush`` syncs what was put since the last one, files before folders, and an existing value is replaced
    by one that was synced before. With ``create`` the root is made when it is missing. Files and folders
    get the modes that the umask leaves; with ``file_mode``, files that one whatever the umask, and folders
    the like. Links, FIFOs and devices below the root are never followed or read:
    the store sees nothing there, and ``put`` replaces them; what is below a linked folder, it keeps apart.

    Other tools may add, replace (by rename) and remove files. Copying or touching a file by hand loses its
    attributes, since these belong to the inode; copy through a store to keep them. Between processes, a
    put that keeps the attributes keeps those it found a moment before.

    Raises: NotFound without ``create`` if there is no such folder; BadReference if it is not a folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        durability: str = "fast",
        create: bool = True,
        file_mode: int | None = None,
    ) -> None:
        if durability not in ("fast", "full"):
            raise ConfigError("durability", f"no {durability!r}; there are fast, full")
        self.root = os.path.abspath(os.fspath(root))
        self.durability = durability
        self._create = create
        self._file_mode = file_mode
        self._unsynced = Unsynced(durable=durability == "full")
        self._root = Root(self.root, create=create, unsynced=self._unsynced, file_mode=file_mode)
        self._odd = OddKeys(self._root)
        self._places = Places(self._root, self._odd)
        self._sidecars = Sidecars(self._root, self._places)
        self._commit = Commit(self._root, self._places, self._odd, self._sidecars, self._unsynced)
        self._etags = Etags()
        sweep_temporaries(self._root, _STALE_SECONDS)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        fd, found, path = self._places.open(self._raw(key))
        try:
            first, last, _ = slice(start, end).indices(found.st_size)
            return read(fd, first, last)
        except OSError as error:
            raise unavailable(error, path) from error
        finally:
            close(fd)

    def open(self, key: str) -> BinaryIO:
        fd, _, path = self._places.open(self._raw(key))
        return open_stream(fd, path)

    def map(self, key: str) -> memoryview:
        """A memory map: it costs no memory, and shows what others do to this very file (never this store)."""
        fd, found, path = self._places.open(self._raw(key))
        try:
            return memoryview(mmap(fd, found.st_size, access=ACCESS_READ) if found.st_size else b"")
        except (OSError, ValueError) as error:  # the latter: it is shorter by now
            raise unavailable(error, path) from error
        finally:
            close(fd)

    def stat(self, key: str) -> Stat:
        fd, found, path, attrs = self._sidecars.open_with_data(self._raw(key))
        try:
            return _make_stat(key, found, self._etags.etag(fd, found), attrs)
        except OSError as error:
            raise unavailable(error, path) from error
        finally:
            close(fd)

    def size(self, key: str) -> int:
        return self._find(key, self._raw(key))[1].st_size

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        check_page(limit, cursor)
        return take_page(self._keys(prefix, cursor or ""), limit)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return self._keys(prefix, "")

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        for key in self.keys(prefix):
            with suppress(NotFound):
                yield _make_stat(key, self._find(key, key.encode())[1], "", {})

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        raw = self._raw(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        if not overwrite and self._places.find(raw)[1] is not None:
            raise AlreadyExists(key, self.url)
        with Temporary.create(self._root) as temp:
            etag = temp.fill(key, data, size)
            with self._lock(raw):
                kept = self._commit.place(temp, raw, wanted, overwrite=overwrite)
        return _make_stat(key, temp.found, etag, kept)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        self._raw(target)
        fd, _, path, attrs = self._sidecars.open_with_data(self._raw(source))
        with open_stream(fd, path) as stream:
            return self.put(target, stream, attrs=attrs, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        """As everywhere; without attributes it is a rename, which takes what is there at that instant."""
        raw, target_raw = self._raw(source), self._raw(target)
        path, found = self._find(source, raw)
        if source == target or self._sidecars.load_to_keep(raw, found):
            super().move(source, target)
            return
        self._drop_hidden(raw, path)
        try:
            with self._lock(target_raw):
                self._commit.place(Temporary(path, found), target_raw, {}, overwrite=True)
        except StoreUnavailable as error:
            if self.exists(source):
                raise
            raise self._root.missing(source) from error
        self._root.leave(path)

    def delete(self, key: str) -> None:
        raw = self._raw(key)
        with self._lock(raw):
            path, found = self._find(key, raw)
            self._drop_hidden(raw, path)
            with Writing(path):
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    raise self._root.missing(key) from None
            unlink(self._sidecars.path(raw, found))
        self._root.leave(path)

    def flush(self) -> None:
        """With ``durability="full"``, sync what was put since the last flush. Else there is nothing to do.

        A file whose sync fails is removed, since the kernel may have dropped what it could not write
        (https://lwn.net/Articles/752063/): put it again. Raises: StoreUnavailable after trying all.
        """
        self._check_open()
        self._unsynced.sync()

    def close(self) -> None:
        if not self._closed:
            try:
                self.flush()
            finally:
                super().close()

    def sweep(self, older_than_seconds: float = _STALE_SECONDS) -> int:
        """Remove what killed writers left behind, and say how many files that were.

        Younger ones stay, since their writer may be at work. Opening a store sweeps ``tmp`` alone.
        """
        self._check_open()
        return (
            sweep_temporaries(self._root, older_than_seconds)
            + self._sidecars.sweep(older_than_seconds)
            + self._odd.sweep(older_than_seconds)
        )

    @property
    def url(self) -> str:
        return self._root.url

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise BadReference(without_credentials(url), "a file store's URL is file:///absolute/path")
        if parts.query or parts.fragment:
            raise BadReference(without_credentials(url), "write '?' as %3F and '#' as %23 in a file URL")
        return cls(os.fsdecode(unquote_to_bytes(parts.path)), **settings)

    def _settings(self) -> dict[str, Any]:
        modes = {} if self._file_mode is None else {"file_mode": self._file_mode}
        return {"root": self.root, "durability": self.durability, "create": self._create, **modes}

    def _raw(self, key: str) -> bytes:
        self._check_open()
        return check_key(key).encode()

    def _lock(self, raw: bytes) -> Lock:
        return lock_for(self._root.path + raw)

    def _keys(self, prefix: str, after: str) -> Iterator[str]:
        self._check_open()
        return self._places.keys(check_prefix(prefix).encode(), after.encode())

    def _find(self, key: str, raw: bytes) -> tuple[bytes, os.stat_result]:
        """The path of the key's data, and the file there. Raises: NotFound."""
        path, found = self._places.find(raw)
        if found is None:
            raise self._root.missing(key)
        return path, found

    def _drop_hidden(self, raw: bytes, path: bytes) -> None:
        """A value that the file at the path hides must not come back when the file goes."""
        if not self._odd.holds(path):
            unlink(self._odd.path(raw))


def _make_stat(key: str, found: os.stat_result, etag: str, attrs: dict[str, Any]) -> Stat:
    try:
        modified = datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1e6, UTC)
    except (ValueError, OverflowError, OSError):  # set by hand, to a year that a datetime does not reach
        modified = datetime.max.replace(tzinfo=UTC)
    return Stat(key, found.st_size, modified, etag, attrs)
