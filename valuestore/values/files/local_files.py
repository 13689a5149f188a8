"""LocalFiles: files and folders of this machine, through os alone.

A folder is walked without following links, contents digested in parallel threads. What was found in it is
remembered with the status of every file: as long as it is the same, it costs a ``scandir`` and these.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import IO, Any, cast

from valuestore.errors import NotHashableError, StoreUnavailable
from valuestore.hashing import Digest, active_algorithm
from valuestore.values.files.filesystem import COPY_BYTES, READING, Filesystem, Found, Written, say_once
from valuestore.values.files.manifest import REPOSITORY, Entry, folder_listing, join_listings
from valuestore.values.files.stat_memory import RACY_NS, Changing, stat_memory
from valuestore.values.value import Plain

_NAME_BYTES_KEPT = 100


class LocalFiles(Filesystem):
    """See Filesystem. Opening, copying and deleting raise the operating system's own errors."""

    def look(self, path: str) -> Found | None:
        status = _status(path)
        if status is None:
            return None
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
        return Found(kinds.get(stat.S_IFMT(status.st_mode), "other"), status.st_size)

    def digest(self, path: str) -> Digest | None:
        return stat_memory().digest(path)

    def stat_mark(self, path: str) -> dict[str, Plain] | None:
        status = _status(path)
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise NotHashableError(f"File({path!r})", "it is not a regular file")
        return {"size": status.st_size, "modified_ns": status.st_mtime_ns}

    def open(self, path: str, mode: str, encoding: str | None) -> IO[Any]:
        if mode in READING:
            return open(path, mode, encoding=encoding)
        return cast(IO[Any], Written(path, self._writing(path, mode, encoding)))

    @contextmanager
    def _writing(self, path: str, mode: str, encoding: str | None) -> Iterator[IO[Any]]:
        with _replacing(path) as (temporary, old):
            if mode.startswith("a") and old is not None:
                from shutil import copyfile

                copyfile(old, temporary)
            with open(temporary, mode, encoding=encoding) as stream:
                yield stream

    def copy(self, source: str, destination: str) -> None:
        from shutil import copyfileobj

        with (
            open(source, "rb") as stream,
            _replacing(destination) as (temporary, _),
            open(temporary, "wb") as to,
        ):
            copyfileobj(stream, to, COPY_BYTES)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)

    def touch(self, path: str) -> None:
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        try:
            os.utime(path)
        except FileNotFoundError:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))

    def make_folder(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def remove_folder(self, path: str, *, recursive: bool) -> None:
        with suppress(FileNotFoundError):
            if recursive:
                from shutil import rmtree

                rmtree(path)
            else:
                os.rmdir(path)

    def manifest(self, folder: str, kind: str, like: bytes | None = None) -> bytes | None:
        """Raises: StoreUnavailable; NotHashableError if it is no folder, or keeps changing."""
        try:
            for _ in range(_LOOKS_TRIED):
                try:
                    return _walked(os.fsencode(folder), kind, like)
                except _Unlike:
                    return None
                except (FileNotFoundError, NotADirectoryError):
                    if not os.path.lexists(folder):
                        return None
                    if not os.path.isdir(folder):
                        raise NotHashableError(f"Dir({folder!r})", "it is not a folder") from None
                except Changing:
                    break
        except OSError as error:
            place = os.fsdecode(error.filename) if error.filename is not None else folder
            raise StoreUnavailable(place, error.strerror or str(error)) from error
        finally:
            stat_memory().keep()
        raise NotHashableError(f"Dir({folder!r})", "its content keeps changing while it is read")

    def list_folder(self, folder: str) -> Iterator[tuple[str, str]]:
        try:
            with os.scandir(folder) as entries:
                found = [(entry.name, _kind(entry)) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreUnavailable(folder, error.strerror or str(error)) from error
        yield from found


LOCAL_FILES = LocalFiles()


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error


def _kind(entry: os.DirEntry[str]) -> str:
    with suppress(OSError):
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "link to folder" if entry.is_symlink() else "folder"
    return "other"


@contextmanager
def _replacing(path: str) -> Iterator[tuple[str, str | None]]:
    """A new path beside ``path``, which takes its place at the end, and what it takes the place of, if any.

    A link stays one: what it points to is replaced. Permissions stay too. A pipe or device is refused.
    """
    target = os.path.realpath(path) if os.path.islink(path) else path
    folder, name = os.path.split(target)
    if folder:
        os.makedirs(folder, exist_ok=True)
    status = _status(target)
    if status is not None and not stat.S_ISREG(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, "Not a regular file, so it cannot be replaced", path)
    short = os.fsdecode(os.fsencode(name)[:_NAME_BYTES_KEPT])
    temporary = os.path.join(folder, f".{short}.{os.urandom(6).hex()}")
    try:
        yield temporary, None if status is None else target
        if status is not None:
            os.chmod(temporary, stat.S_IMODE(status.st_mode))
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


# --- What a folder holds: its manifest.


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
            repository = os.path.join(os.fsdecode(folder), REPOSITORY)
            say_once(f"the repository {repository} is left out of the Dir around it")
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


def _in_threads(
    work: Callable[[tuple[bytes, Status]], tuple[bytes, Digest, bool]], files: Sequence[tuple[bytes, Status]]
) -> list[tuple[bytes, Digest, bool]]:
    if len(files) < 2:
        return [work(file) for file in files]
    from concurrent.futures import ThreadPoolExecutor  # late: few folders are read in most programs

    with ThreadPoolExecutor(min(_THREADS, len(files)), thread_name_prefix="valuestore-digest") as pool:
        return list(pool.map(work, files))
