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

import errno
import heapq
import io
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any, BinaryIO, NoReturn, Self
from urllib.parse import quote, unquote_to_bytes, urlsplit

from valuestore.errors import (
    AlreadyExists,
    BadReference,
    ConfigError,
    NotFound,
    NotSupported,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.hashing import get_algorithm, hash_bytes
from valuestore.stores.base import (
    CHUNK_BYTES,
    KEY_MAX_BYTES,
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

_PRIVATE = b".vs~"
_KEY_SUFFIX = b".key"
_STALE_SECONDS = 3600.0
_ATTEMPTS = 100

# Not blocking, since a FIFO in the way would keep an open waiting for its writer.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_IMPOSSIBLE_NAME = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, *_IMPOSSIBLE_NAME}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

_SETTLED_NS = 2_000_000_000
"""A file older than this shows every later change in its timestamps, however coarse the clock behind them."""

_REMEMBERED_ETAGS = 65_536


class FileStore(Store):
    """Keys as files below ``root``. For POSIX, not Windows, and file systems that tell upper from lower case.

    ``durability="fast"`` is safe against killed processes. ``"full"`` is also safe against power loss:
    ``flush`` syncs what was put since the last one, files before folders, and an existing value is replaced
    by one that was synced before. With ``create`` the root is made when it is missing. Files and folders
    get the modes that the umask leaves. Links, FIFOs and devices below the root are never followed or read:
    the store sees nothing there, and ``put`` replaces them; what is below a linked folder, it keeps apart.

    Other tools may add, replace (by rename) and remove files. Copying or touching a file by hand loses its
    attributes, since these belong to the inode; copy through a store to keep them. Between processes, a
    put that keeps the attributes keeps those it found a moment before.

    Raises: NotFound without ``create`` if there is no such folder; BadReference if it is not a folder.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, durability: str = "fast", create: bool = True
    ) -> None:
        if durability not in ("fast", "full"):
            raise ConfigError("durability", f"no {durability!r}; there are fast, full")
        self.root = os.path.abspath(os.fspath(root))
        self.durability = durability
        self._create = create
        self._root = os.path.join(os.fsencode(self.root), b"")
        self._private = self._root + _PRIVATE + b"/"
        self._temps = self._private + b"tmp/"
        self._attrs = self._private + b"attrs/"
        self._odd = self._private + b"odd/"
        self._etags: dict[tuple[int, ...], str] = {}
        self._odd_keys: dict[bytes, bytes] = {}
        self._unsynced = _Unsynced()
        self._device = self._open_root()
        self._sweep_temps(_STALE_SECONDS)

    # --- reading ------------------------------------------------------------------------------------

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        fd, found, _ = self._open(key, self._raw(key))
        try:
            if start == 0 and end is None:
                return _read(fd, 0, found.st_size)
            first, last, _ = slice(start, end).indices(found.st_size)
            return _read(fd, first, last)
        except OSError as error:
            raise self._unreadable(error, key) from error
        finally:
            os.close(fd)

    def open(self, key: str) -> BinaryIO:
        fd, _, _ = self._open(key, self._raw(key))
        return self._stream(key, fd)

    def stat(self, key: str) -> Stat:
        fd, found, attrs = self._open_with_attrs(key)
        try:
            return _make_stat(key, found, self._etag(fd, found), attrs)
        except OSError as error:
            raise self._unreadable(error, key) from error
        finally:
            os.close(fd)

    def size(self, key: str) -> int:
        _, found = self._find(self._raw(key))
        if found is None:
            self._raise_missing(key)
        return found.st_size

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        check_page(limit, cursor)
        return take_page(self._walk(prefix, cursor), limit)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return self._walk(prefix, None)

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
        raw = self._raw(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        if not overwrite and self._find(raw)[1] is not None:
            raise AlreadyExists(key, self.url)
        temp = self._new_temp()
        try:
            etag = self._fill(temp, key, data, size)
            with _lock_for(self._root + raw):
                kept = self._commit(temp, key, raw, wanted, overwrite)
        except BaseException:
            temp.discard()
            raise
        return _make_stat(key, temp.found, etag, kept)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        self._raw(target)
        fd, _, attrs = self._open_with_attrs(source)
        with self._stream(source, fd) as stream:
            return self.put(target, stream, attrs=attrs, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        """As everywhere; without attributes it is a rename, which takes what is there at that instant."""
        raw, target_raw = self._raw(source), self._raw(target)
        path, found = self._find(raw)
        if found is None:
            self._raise_missing(source)
        if source == target or self._attrs_to_keep(source, raw, found):
            super().move(source, target)
            return
        self._drop_hidden(raw, path)
        try:
            with _lock_for(self._root + target_raw):
                self._commit(_Temp(path, found), target, target_raw, {}, True)
        except StoreUnavailable:
            if self.exists(source):
                raise
            self._raise_missing(source)
        self._leave(path)

    def delete(self, key: str) -> None:
        raw = self._raw(key)
        with _lock_for(self._root + raw):
            path, found = self._find(raw)
            if found is None:
                self._raise_missing(key)
            self._drop_hidden(raw, path)
            try:
                os.unlink(path)
            except FileNotFoundError:
                self._raise_missing(key)
            except OSError as error:
                raise self._unwritable(error, path) from error
            _unlink(self._sidecar(raw, found))
        self._leave(path)

    # --- itself -------------------------------------------------------------------------------------

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
            self._sweep_temps(older_than_seconds)
            + self._sweep_attrs(older_than_seconds)
            + self._sweep_odd(older_than_seconds)
        )

    @property
    def url(self) -> str:
        return "file://" + quote(os.fsencode(self.root))

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise BadReference(without_credentials(url), "a file store's URL is file:///absolute/path")
        if parts.query or parts.fragment:
            raise BadReference(without_credentials(url), "write '?' as %3F and '#' as %23 in a file URL")
        return cls(os.fsdecode(unquote_to_bytes(parts.path)), **settings)

    def _settings(self) -> dict[str, Any]:
        return {"root": self.root, "durability": self.durability, "create": self._create}

    def _open_root(self) -> int:
        """The device that the root is on; makes the root if asked to."""
        try:
            if self._create:
                self._make_root()
            found = os.stat(self._root)
            self._name_max = os.pathconf(self._root, "PC_NAME_MAX")
        except FileNotFoundError:
            raise NotFound(self.root, "the file system") from None
        except (FileExistsError, NotADirectoryError):
            raise BadReference(self.url, "it is not a folder") from None
        except OSError as error:
            raise self._unwritable(error, self._root) from error
        for folder in (self._private, self._temps, self._attrs, self._odd):
            own = self._look(folder[:-1])
            if own is not None and not stat.S_ISDIR(own.st_mode):
                raise BadReference(self.url, f"{os.fsdecode(folder[:-1])} in it is not a folder")
        return found.st_dev

    def _make_root(self) -> None:
        made_in, folder = [], self._root[:-1]
        while folder and not os.path.isdir(folder):
            folder = os.path.dirname(folder)
            made_in.append(folder)
        if made_in:
            os.makedirs(self._root, exist_ok=True)
        if self.durability == "full":
            self._unsynced.add_folders(made_in)

    def _stream(self, key: str, fd: int) -> BinaryIO:
        return io.BufferedReader(_Reader(fd, f"{self.url}/{key}"), CHUNK_BYTES // 4)

    def _raw(self, key: str) -> bytes:
        self._check_open()
        return check_key(key).encode()

    # --- where a key lies ---------------------------------------------------------------------------

    def _literal_path(self, raw: bytes) -> bytes | None:
        """The key's own path, or None if something that is no folder stands in its way."""
        root = self._root
        if raw.startswith(_PRIVATE) and raw[4:5] in (b"", b"/"):
            return None
        if len(raw) > self._name_max and max(map(len, raw.split(b"/"))) > self._name_max:
            return None
        end = raw.find(b"/")
        while end >= 0:
            try:
                found = os.lstat(root + raw[:end])
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno in _NOTHING_THERE:
                    return None
                raise self._unreadable(error, root + raw[:end]) from error
            if not stat.S_ISDIR(found.st_mode):
                return None
            end = raw.find(b"/", end + 1)
        return root + raw

    def _odd_path(self, raw: bytes) -> bytes:
        return self._odd + _key_digest(raw)

    def _find(self, raw: bytes) -> tuple[bytes, os.stat_result | None]:
        """Where the key's data is or should go, and the file there; None if none is."""
        path = self._literal_path(raw)
        if path is not None:
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in _NOTHING_THERE:
                    raise self._unreadable(error, path) from error
                path = None
            else:
                if stat.S_ISREG(found.st_mode):
                    return path, found
                if stat.S_ISDIR(found.st_mode):
                    path = None
        odd = self._odd_path(raw)
        at_odd = self._look(odd)
        if at_odd is not None and stat.S_ISREG(at_odd.st_mode):
            return odd, at_odd
        return path or odd, None

    def _look(self, path: bytes) -> os.stat_result | None:
        try:
            return os.lstat(path)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise self._unreadable(error, path) from error

    def _open(self, key: str, raw: bytes) -> tuple[int, os.stat_result, bytes]:
        """A descriptor on the key's data, the file's status and its path. Raises: NotFound."""
        path = self._literal_path(raw)
        if path is None or (opened := self._open_regular(path)) is None:
            path = self._odd_path(raw)
            opened = self._open_regular(path)
        if opened is None:
            self._raise_missing(key)
        return *opened, path

    def _open_regular(self, path: bytes) -> tuple[int, os.stat_result] | None:
        try:
            fd = os.open(path, _READ)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise self._unreadable(error, path) from error
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            return fd, found
        os.close(fd)
        return None

    def _open_with_attrs(self, key: str) -> tuple[int, os.stat_result, dict[str, Any]]:
        """The data and the attributes of one and the same put."""
        raw = self._raw(key)
        for _ in range(_ATTEMPTS):
            fd, found, path = self._open(key, raw)
            try:
                attrs = self._load_attrs(key, raw, found)
                if attrs is not None:
                    return fd, found, attrs
                now = self._look(path)
                if now is not None and now.st_ino == found.st_ino:
                    return fd, found, {}
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # replaced since it was opened, and so may its attributes have been: look again
        raise StoreUnavailable(self.url, f"{key!r} keeps changing")

    # --- putting in place ---------------------------------------------------------------------------

    def _new_temp(self) -> _Temp:
        path = self._temps + os.urandom(12).hex().encode()
        try:
            try:
                return _Temp.create(path)
            except FileNotFoundError:
                self._make_folders(path)
                return _Temp.create(path)
        except StoreError:
            raise
        except OSError as error:
            raise self._unwritable(error, path) from error

    def _fill(self, temp: _Temp, key: str, data: Data, size: int | None) -> str:
        """Write all of the data and close the file; the digest of it."""
        hasher = get_algorithm().new()
        for chunk in iter_chunks(key, data, size):
            hasher.update(chunk)
            try:
                temp.write(chunk)
            except OSError as error:
                raise self._unwritable(error, temp.path) from error
        try:
            temp.finish()
        except OSError as error:
            raise self._unwritable(error, temp.path) from error
        return hasher.hexdigest()

    def _commit(
        self, temp: _Temp, key: str, raw: bytes, wanted: dict[str, Any] | None, overwrite: bool
    ) -> dict[str, Any]:
        """Rename the file into place with its attributes, which are returned. Tries again if folders move."""
        try:
            for _ in range(_ATTEMPTS):
                path, old = self._find(raw)
                if old is not None and not overwrite:
                    raise AlreadyExists(key, self.url)
                kept = self._attrs_to_keep(key, raw, old) if wanted is None else wanted
                self._write_sidecars(temp, raw, path, kept)
                if old is not None and self.durability == "full":
                    temp.sync()
                if self._place(temp, path, overwrite):
                    self._settle(temp, raw, path, old)
                    return kept
        except StoreError:
            raise
        except OSError as error:
            raise self._unwritable(error, self._root + raw) from error
        raise StoreUnavailable(self.url, f"the folders of {key!r} keep changing")

    def _place(self, temp: _Temp, path: bytes, overwrite: bool) -> bool:
        """Give the file its name. False if something has to be seen to first, and now was."""
        try:
            if overwrite:
                os.replace(temp.path, path)
            else:
                os.link(temp.path, path)
                _unlink(temp.path)
        except FileNotFoundError:
            if _lstat(temp.path) is None:
                raise StoreUnavailable(os.fsdecode(temp.path), "it was removed while in use") from None
            self._make_folders(path)
        except FileExistsError:
            self._clear(path)
        except (IsADirectoryError, NotADirectoryError):
            return False
        except OSError as error:
            if not overwrite and error.errno in _NO_HARD_LINKS:
                raise NotSupported(
                    self.url, "overwrite=False", "its file system has no hard links"
                ) from error
            raise
        else:
            return True
        return False

    def _settle(self, temp: _Temp, raw: bytes, path: bytes, old: os.stat_result | None) -> None:
        """After the commit: drop what is not needed any more, remember what is to be synced."""
        if old is not None:
            _unlink(self._sidecar(raw, old))
        if self.durability == "full":
            self._unsynced.add(path)
            if temp.sidecar is not None:
                self._unsynced.add(temp.sidecar)

    def _clear(self, path: bytes) -> None:
        """Move a link, FIFO or the like out of the way. What turns out to be a value goes back."""
        found = _lstat(path)
        if found is None or stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
            return
        aside = self._temps + os.urandom(12).hex().encode()
        with suppress(FileNotFoundError):
            os.rename(path, aside)
            if stat.S_ISREG(os.lstat(aside).st_mode):
                with suppress(FileExistsError):
                    os.link(aside, path)
            os.unlink(aside)

    def _make_folders(self, path: bytes) -> None:
        """Make the missing folders above ``path``. Who finds somebody at work there looks again."""
        self._check_device()
        if self._create:
            self._make_root()
        end = path.find(b"/", len(self._root))
        while end >= 0:
            try:
                os.mkdir(path[:end])
            except FileExistsError:
                pass
            except (FileNotFoundError, NotADirectoryError):
                return
            else:
                if self.durability == "full":
                    self._unsynced.add_folders([os.path.dirname(path[:end])])
            end = path.find(b"/", end + 1)

    def _drop_hidden(self, raw: bytes, path: bytes) -> None:
        """A value that the file at the path hides must not come back when the file goes."""
        if not path.startswith(self._odd):
            _unlink(self._odd_path(raw))

    def _leave(self, path: bytes) -> None:
        """After a file went: its folders go too if that emptied them, up to the first that it did not."""
        folder = os.path.dirname(path)
        if self.durability == "full":
            self._unsynced.add_folders([folder])
        with suppress(OSError):
            while len(folder) >= len(self._root) and not path.startswith(self._private):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    # --- attributes ---------------------------------------------------------------------------------

    def _sidecar(self, raw: bytes, found: os.stat_result) -> bytes:
        return b"%s%s-%d-%d" % (self._attrs, _key_digest(raw), found.st_ino, found.st_mtime_ns)

    def _load_attrs(self, key: str, raw: bytes, found: os.stat_result) -> dict[str, Any] | None:
        """The attributes of that very file, None if it has none. Raises: StoreError if they are damaged."""
        opened = self._open_regular(self._sidecar(raw, found))
        if opened is None:
            return None
        try:
            record = json.loads(_read(opened[0], 0, opened[1].st_size))
            if record["key"] != key:
                raise ValueError(record["key"])
            return dict(record["attrs"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"the attributes of {key!r} in {self.url} are damaged; put it again") from error
        except OSError as error:
            raise self._unreadable(error, key) from error
        finally:
            os.close(opened[0])

    def _attrs_to_keep(self, key: str, raw: bytes, old: os.stat_result | None) -> dict[str, Any]:
        if old is None:
            return {}
        try:
            return self._load_attrs(key, raw, old) or {}
        except StoreUnavailable:
            raise
        except StoreError:  # damaged: a put heals
            return {}

    def _write_sidecars(self, temp: _Temp, raw: bytes, path: bytes, attrs: dict[str, Any]) -> None:
        """What has to be there before the data: its attributes, and for an odd key, the key."""
        temp.drop_sidecar()
        if attrs:
            temp.make_unique()
            temp.sidecar = self._sidecar(raw, temp.found)
            self._write_own(temp.sidecar, json.dumps({"key": raw.decode(), "attrs": attrs}).encode())
        if path.startswith(self._odd):
            self._write_own(path + _KEY_SUFFIX, raw)
            if self.durability == "full":
                self._unsynced.add(path + _KEY_SUFFIX)

    def _write_own(self, path: bytes, content: bytes) -> None:
        temp = self._new_temp()
        try:
            temp.write(content)
            temp.finish()
            try:
                os.replace(temp.path, path)
            except FileNotFoundError:
                self._make_folders(path)
                os.replace(temp.path, path)
        except BaseException:
            temp.discard()
            raise

    # --- listing ------------------------------------------------------------------------------------

    def _walk(self, prefix: str, cursor: str | None) -> Iterator[str]:
        """Keys under the prefix and after the cursor, in byte order; literal and odd ones merged."""
        self._check_open()
        start = check_prefix(prefix).encode()
        after = b"" if cursor is None else cursor.encode()
        return self._merge(self._walk_files(start, after), self._list_odd(start, after))

    def _merge(self, literal: Iterable[bytes], odd: Iterable[bytes]) -> Iterator[str]:
        last = b""
        for raw in heapq.merge(literal, odd):
            if raw != last:
                yield raw.decode()
            last = raw

    def _walk_files(self, prefix: bytes, after: bytes) -> Iterator[bytes]:
        """Depth first, each folder sorted as ``name/``, which makes the order that of the whole key."""
        base = prefix[: prefix.rfind(b"/") + 1]
        if base and (base == b"/" or _is_unclean(base[:-1]) or self._literal_path(base + b"x") is None):
            return
        pending = [*self._scan(base, prefix, after)]
        while pending:
            raw = pending.pop()
            if raw.endswith(b"/"):
                pending += self._scan(raw, prefix, after)
            else:
                yield raw

    def _scan(self, base: bytes, prefix: bytes, after: bytes) -> Sequence[bytes]:
        """What to list of one folder, last first: files by their key, folders with a slash at the end."""
        found: list[bytes] = []
        try:
            with os.scandir(self._root + base) as entries:
                for entry in entries:
                    raw = base + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        raw += b"/"
                        if not (raw.startswith(prefix) or prefix.startswith(raw)):
                            continue
                        if raw <= after and not after.startswith(raw):
                            continue
                    elif raw <= after or not (
                        raw.startswith(prefix) and entry.is_file(follow_symlinks=False)
                    ):
                        continue
                    if len(raw) <= KEY_MAX_BYTES and _is_utf8(raw):
                        found.append(raw)
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise self._unreadable(error, self._root + base) from error
        if not base:
            found = [raw for raw in found if raw != _PRIVATE + b"/"]
        found.sort(reverse=True)
        return found

    def _list_odd(self, prefix: bytes, after: bytes) -> Iterable[bytes]:
        try:
            names = os.listdir(self._odd)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return []
            raise self._unreadable(error, self._odd) from error
        keys = (self._odd_key(name) for name in names if not name.endswith(_KEY_SUFFIX))
        return sorted(raw for raw in keys if raw is not None and raw > after and raw.startswith(prefix))

    def _odd_key(self, name: bytes) -> bytes | None:
        """The key whose digest is the name; None if that is not known or not so."""
        if name not in self._odd_keys:
            opened = self._open_regular(self._odd + name + _KEY_SUFFIX)
            if opened is None:
                return None
            try:
                raw = _read(opened[0], 0, opened[1].st_size)
            except OSError as error:
                raise self._unreadable(error, self._odd + name) from error
            finally:
                os.close(opened[0])
            if _key_digest(raw) != name:
                return None
            self._odd_keys[name] = raw
        return self._odd_keys[name]

    # --- etags --------------------------------------------------------------------------------------

    def _etag(self, fd: int, found: os.stat_result) -> str:
        """The digest of the file's bytes, remembered while its status shows that it is the same file."""
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._etags.get(identity)
        if known is not None:
            return known
        began = time.time_ns()
        hasher = get_algorithm().new()
        os.lseek(fd, 0, os.SEEK_SET)
        while chunk := os.read(fd, CHUNK_BYTES):
            hasher.update(chunk)
        etag = hasher.hexdigest()
        if max(found.st_mtime_ns, found.st_ctime_ns) < began - _SETTLED_NS:
            if len(self._etags) >= _REMEMBERED_ETAGS:
                self._etags = {}
            self._etags[identity] = etag
        return etag

    # --- sweeping -----------------------------------------------------------------------------------

    def _sweep_temps(self, seconds: float) -> int:
        return sum(_unlink(path) for path in _older(self._temps, seconds))

    def _sweep_attrs(self, seconds: float) -> int:
        """Attributes of files that are no more. Those that cannot be read are left for people to look at."""
        swept = 0
        for path in _older(self._attrs, seconds):
            with suppress(OSError, ValueError, KeyError, TypeError, StoreError):
                with open(path, "rb") as file:
                    raw = check_key(json.load(file)["key"]).encode()
                found = self._find(raw)[1]
                if found is None or self._sidecar(raw, found) != path:
                    swept += _unlink(path)
        return swept

    def _sweep_odd(self, seconds: float) -> int:
        """Names of odd keys that hold nothing. A writer renews the name just before the data."""
        swept = 0
        for path in _older(self._odd, seconds):
            if path.endswith(_KEY_SUFFIX) and _lstat(path.removesuffix(_KEY_SUFFIX)) is None:
                swept += _unlink(path)
        return swept

    # --- failures -----------------------------------------------------------------------------------

    def _raise_missing(self, key: str) -> NoReturn:
        self._check_device()
        raise NotFound(key, self.url)

    def _check_device(self) -> None:
        """Tell an unmounted volume from an empty one: its keys are not lost."""
        found = self._look(self._root)
        if found is None and not self._create:
            raise StoreUnavailable(self.url, "the folder is gone")
        if found is not None and found.st_dev != self._device:
            raise StoreUnavailable(self.url, "another device is mounted there than when it was opened")

    def _unreadable(self, error: OSError, what: bytes | str) -> StoreError:
        place = os.fsdecode(what) if isinstance(what, bytes) else f"{self.url}/{what}"
        return StoreUnavailable(place, error.strerror or str(error))

    def _unwritable(self, error: OSError, path: bytes) -> StoreError:
        if error.errno in _READ_ONLY:
            return StoreReadOnly(os.fsdecode(path), error.strerror or str(error))
        return self._unreadable(error, path)


_NO_STATUS = os.stat_result((0,) * 10)


class _Temp:
    """A file under a name that nobody looks for; ``found`` is its status, as of ``finish``."""

    def __init__(self, path: bytes, found: os.stat_result, fd: int = -1) -> None:
        self.path = path
        self.found = found
        self.sidecar: bytes | None = None
        self._fd = fd

    @classmethod
    def create(cls, path: bytes) -> Self:
        fd = os.open(path, _CREATE, 0o666)
        return cls(path, _NO_STATUS, fd)

    def write(self, chunk: bytes | memoryview) -> None:
        written = os.write(self._fd, chunk)
        while written < len(chunk):
            chunk = memoryview(chunk)[written:]
            written = os.write(self._fd, chunk)

    def finish(self) -> None:
        """Close it; file systems that write late report their errors here."""
        self.found = os.fstat(self._fd)
        fd, self._fd = self._fd, -1
        os.close(fd)

    def make_unique(self) -> None:
        """Stamp it to the nanosecond: the kernel's clock ticks slowly, and inodes are used again."""
        now = time.time_ns()
        os.utime(self.path, ns=(now, now))
        self.found = os.lstat(self.path)

    def sync(self) -> None:
        """Have it on the disk, attributes and all."""
        _sync(self.path)
        if self.sidecar is not None:
            _sync(self.sidecar)

    def drop_sidecar(self) -> None:
        if self.sidecar is not None:
            _unlink(self.sidecar)
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


class _Unsynced:
    """Files and folders that a flush has to sync."""

    def __init__(self) -> None:
        self._files: dict[bytes, None] = {}
        self._folders: dict[bytes, None] = {}

    def add(self, path: bytes) -> None:
        with _unsynced_lock:
            self._files[path] = None
            self._folders[os.path.dirname(path)] = None

    def add_folders(self, paths: Iterable[bytes]) -> None:
        with _unsynced_lock:
            self._folders.update(dict.fromkeys(paths))

    def sync(self) -> None:
        with _unsynced_lock:
            files, self._files = self._files, {}
            folders, self._folders = self._folders, {}
        failures: list[OSError] = []
        for path in (*files, *folders):
            try:
                _sync(path)
            except _SyncFailed as failure:
                failures.append(failure)
                if path in files:
                    _unlink(path)
            except OSError as error:
                failures.append(error)
                self._keep(path, path in files)
        if failures:
            raise _unsynced_error(failures[0]) from failures[0]

    def _keep(self, path: bytes, is_file: bool) -> None:
        """What could not even be opened may be synced by a later flush."""
        with _unsynced_lock:
            (self._files if is_file else self._folders)[path] = None


class _SyncFailed(OSError):
    """The system tried to write, and could not: what the disk holds is unknown."""


def _sync(path: bytes) -> None:
    """Sync one file or folder; what is gone by now needs none. Raises: _SyncFailed, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        os.fsync(fd)
    except OSError as error:
        raise _SyncFailed(error.errno, error.strerror, path) from error
    finally:
        os.close(fd)


def _unsynced_error(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(os.fsdecode(error.filename), error.strerror or str(error))


class _Reader(io.FileIO):
    """A file whose failures are the store's."""

    def __init__(self, fd: int, place: str) -> None:
        super().__init__(fd, "rb")
        self._place = place

    def readinto(self, buffer: Any, /) -> int:
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise StoreUnavailable(self._place, error.strerror or str(error)) from error

    def readall(self) -> bytes:
        try:
            return super().readall() or b""
        except OSError as error:
            raise StoreUnavailable(self._place, error.strerror or str(error)) from error


def _read(fd: int, first: int, last: int) -> bytes:
    """The bytes of the file from ``first`` up to ``last``, or up to its end."""
    data = os.pread(fd, last - first, first) if last > first else b""
    if len(data) >= last - first or not data:
        return data
    pieces = [data]
    while data and (first := first + len(data)) < last:
        data = os.pread(fd, last - first, first)
        pieces.append(data)
    return b"".join(pieces)


def _key_digest(raw: bytes) -> bytes:
    """Of an algorithm for which nobody can make two keys with one digest."""
    return hash_bytes(raw, "store key", algorithm="blake3-256").encode()


def _make_stat(key: str, found: os.stat_result, etag: str, attrs: dict[str, Any]) -> Stat:
    try:
        modified = datetime.fromtimestamp(found.st_mtime_ns // 1000 / 1e6, UTC)
    except (ValueError, OverflowError, OSError):  # set by hand, to a year that a datetime does not reach
        modified = datetime.max.replace(tzinfo=UTC)
    return Stat(key, found.st_size, modified, etag, attrs)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_unclean(raw: bytes) -> bool:
    return b"\0" in raw or not {b"", b".", b".."}.isdisjoint(raw.split(b"/"))


def _lstat(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def _unlink(path: bytes) -> bool:
    """Remove the file if that can be done; whether it was."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _older(folder: bytes, seconds: float) -> Iterator[bytes]:
    """The files of a folder that were last written before that many seconds."""
    limit = time.time() - seconds
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime <= limit:
                    yield entry.path


_unsynced_lock = Lock()
_locks = [Lock() for _ in range(64)]
"""Held by key around the commit, so that threads that replace one value see each other's attributes."""


def _lock_for(path: bytes) -> Lock:
    return _locks[hash(path) % 64]


def _renew_locks() -> None:
    """A thread that held a lock at the fork does not exist in the child, where it would never be released."""
    global _unsynced_lock
    _locks[:] = [Lock() for _ in range(64)]
    _unsynced_lock = Lock()


os.register_at_fork(after_in_child=_renew_locks)
