"""The manifest of a local folder: walked without following links, contents digested in parallel threads.

What was found in a folder is remembered with the status of every file in it, so that a folder that did not
change costs one ``scandir`` and one ``stat`` per file. Called by local_files.py.
"""

from __future__ import annotations

import os
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from operator import attrgetter

from valuestore.errors import NotHashableError, StoreUnavailable, ValuestoreWarning
from valuestore.hashing import Digest, active_algorithm
from valuestore.values.files.manifest import REPOSITORY, Entry, folder_listing, join_listings
from valuestore.values.files.stat_memory import RACY_NS, Changing, stat_memory

_status_of = attrgetter("st_mode", "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
Status = tuple[int, int, int, int, int, int]

_SPECIAL = {stat.S_IFIFO: "p", stat.S_IFSOCK: "s", stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
_REPOSITORY = os.fsencode(REPOSITORY)
_LOOKS_TRIED = 3
_REMEMBERED_ENTRIES = 200_000
_LARGE_BYTES = 1 << 17
"""A digest of this many bytes outweighs what handing it to another thread costs."""
_THREADS = min(8, 2 + (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class _Remembered:
    statuses: dict[bytes, Status]
    listing: bytes
    subfolders: tuple[bytes, ...]


@dataclass
class _Memory:
    """Listings by algorithm and folder; bounded by the number of entries.

    Without locks, which a fork would copy as they are: at worst a listing is kept that need not be.
    """

    folders: dict[tuple[str, bytes], _Remembered] = field(default_factory=dict)
    entries: int = 0

    def keep(self, key: tuple[str, bytes], what: _Remembered) -> None:
        if self.entries > _REMEMBERED_ENTRIES:
            self.folders.clear()
            self.entries = 0
        self.folders[key] = what
        self.entries += len(what.statuses)


_memory = _Memory()


class _Unlike(Exception):
    """Something is there that the manifest to compare with does not have."""


def folder_manifest(path: str, kind: str, like: bytes | None = None) -> bytes | None:
    """The manifest; None if no folder is there, or it is not ``like`` the other. See ``Filesystem.manifest``.

    Raises: StoreUnavailable if something in it cannot be read; NotHashableError if it is no folder, or
    keeps changing.
    """
    try:
        for _ in range(_LOOKS_TRIED):
            try:
                return _walked(os.fsencode(path), kind, like)
            except _Unlike:
                return None
            except (FileNotFoundError, NotADirectoryError):
                if not os.path.lexists(path):
                    return None
                if not os.path.isdir(path):
                    raise NotHashableError(f"Dir({path!r})", "it is not a folder") from None
            except Changing:
                break
    except OSError as error:
        place = os.fsdecode(error.filename) if error.filename is not None else path
        raise StoreUnavailable(place, error.strerror or str(error)) from error
    finally:
        stat_memory().keep()
    raise NotHashableError(f"Dir({path!r})", "its content keeps changing while it is read")


def _walked(root: bytes, kind: str, like: bytes | None) -> bytes:
    walk = _Walk(root, kind, like)
    listings: dict[bytes, bytes] = {}
    pending = [b""]
    while pending:
        relative = pending.pop()
        listings[relative], subfolders = walk.listing(relative)
        pending.extend(relative + b"/" + name if relative else name for name in subfolders)
    return join_listings(listings)


class _Walk:
    def __init__(self, root: bytes, kind: str, like: bytes | None) -> None:
        self.root = root
        self.kind = kind
        self.algorithm = active_algorithm.get()
        self.memory = stat_memory()
        self.started = 0
        self.like = like
        self.expected: frozenset[bytes] | None = None

    def listing(self, relative: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """Records of one folder and the names of the folders in it. Raises: OSError; Changing."""
        folder = os.path.join(self.root, relative) if relative else self.root
        for _ in range(_LOOKS_TRIED - 1):
            with suppress(FileNotFoundError):
                return self._listing(folder)
        return self._listing(folder)

    def _listing(self, folder: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        self.started = time.time_ns()
        with os.scandir(folder) as entries:
            statuses = {entry.name: _status_of(entry.stat(follow_symlinks=False)) for entry in entries}
        if statuses.pop(_REPOSITORY, None) is not None:
            _say_left_out(os.fsdecode(folder))
        key = (self.algorithm, os.path.abspath(folder))
        if self.kind == "content":
            known = _memory.folders.get(key)
            if known is not None and known.statuses == statuses:
                return known.listing, known.subfolders
        listing, subfolders, settled = self._look(folder, statuses)
        if self.kind == "content" and settled:
            _memory.keep(key, _Remembered(statuses, listing, subfolders))
        return listing, subfolders

    def _look(self, folder: bytes, statuses: dict[bytes, Status]) -> tuple[bytes, tuple[bytes, ...], bool]:
        """As ``_listing``, and whether all of it may be remembered."""
        if not self._is_expected(b"f" + n for n, status in statuses.items() if stat.S_ISREG(status[0])):
            raise _Unlike
        marked: list[Entry] = []
        files: list[tuple[bytes, Status]] = []
        subfolders = []
        settled = True
        for name, status in statuses.items():
            form = stat.S_IFMT(status[0])
            if form == stat.S_IFREG:
                files.append((name, status))
            elif form == stat.S_IFDIR:
                if not self._is_expected([b"D" + os.path.relpath(os.path.join(folder, name), self.root)]):
                    raise _Unlike
                subfolders.append(name)
            elif form == stat.S_IFLNK:
                marked.append(("l", name, os.readlink(os.path.join(folder, name))))
                settled &= self.started - max(status[4:]) > RACY_NS
            else:
                marked.append((_SPECIAL.get(form, "p"), name, b""))
        if self.kind == "content":
            found, all_settled = self._contents(folder, files)
            settled &= all_settled
        else:
            found = [("f", name, b"%d:%d" % status[3:5]) for name, status in files]
        return folder_listing([*marked, *found]), tuple(subfolders), settled

    def _is_expected(self, names: Iterable[bytes]) -> bool:
        """Whether the other manifest has these fields: kinds with names, and marks, which do no harm here."""
        if self.like is None:
            return True
        if self.expected is None:
            self.expected = frozenset(self.like.split(b"\0"))
        return self.expected.issuperset(names)

    def _contents(self, folder: bytes, files: Sequence[tuple[bytes, Status]]) -> tuple[list[Entry], bool]:
        """The digests of files; the large ones that have to be read are read in parallel."""
        found: list[Entry] = []
        unknown: list[tuple[bytes, Status]] = []
        for name, status in files:
            digest = self.memory.known(self.algorithm, status[1:])
            if digest is None:
                unknown.append((name, status))
            else:
                found.append(("f", name, digest.encode()))
        unknown.sort(key=lambda file: file[1][2])  # by inode: as they lie on the disk, and in the record
        settled = True
        read = partial(self._read, os.path.join(folder, b""))
        large = [file for file in unknown if file[1][3] >= _LARGE_BYTES]
        small = [file for file in unknown if file[1][3] < _LARGE_BYTES]
        for name, digest, is_settled in (*_in_threads(read, large), *map(read, small)):
            found.append(("f", name, digest.encode()))
            settled &= is_settled
        return found, settled

    def _read(self, prefix: bytes, file: tuple[bytes, Status]) -> tuple[bytes, Digest, bool]:
        """Name and digest of a file, and whether it is still what the status says and stays so."""
        name, status = file
        digest, fingerprint, is_settled = self.memory.read(os.fsdecode(prefix + name), self.algorithm)
        if fingerprint[:2] != status[1:3]:  # another file now, or a link to one
            raise FileNotFoundError(2, "replaced while it was read", prefix + name)
        return name, digest, is_settled and fingerprint == status[1:]


@cache
def _say_left_out(folder: str) -> None:
    warnings.warn(
        f"the repository {os.path.join(folder, REPOSITORY)} is left out of the Dir around it",
        ValuestoreWarning,
        stacklevel=2,
    )


def _in_threads(
    work: Callable[[tuple[bytes, Status]], tuple[bytes, Digest, bool]], files: Sequence[tuple[bytes, Status]]
) -> list[tuple[bytes, Digest, bool]]:
    if len(files) < 2:
        return [work(file) for file in files]
    from concurrent.futures import ThreadPoolExecutor  # late: few folders are read in most programs

    with ThreadPoolExecutor(min(_THREADS, len(files)), thread_name_prefix="valuestore-digest") as pool:
        return list(pool.map(work, files))
