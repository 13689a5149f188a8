"""RemoteFiles: files behind a URL, by whatever filesystem fsspec has for it.

Credentials come from where the filesystem looks for them (environment, its configuration), or from a URL
that the program wrote; neither is shown, stored or hashed. A file is written to a local temporary file
first, so what arrives is whole or not there. Loads fsspec.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from operator import methodcaller
from shutil import copyfileobj
from tempfile import NamedTemporaryFile
from typing import IO, Any, BinaryIO, TypeVar, cast

from valuestore.errors import CredentialsRejected, NotFound, NotHashableError, StoreReadOnly, StoreUnavailable
from valuestore.hashing import Digest, active_algorithm, hash_stream
from valuestore.stores.fsspec.filesystem import Body, FsspecFilesystem
from valuestore.values.files.filesystem import COPY_BYTES, READING, Filesystem, Found, Written
from valuestore.values.files.location import joined, scheme_of, working_url
from valuestore.values.files.manifest import folder_listing, join_listings
from valuestore.values.value import Plain

_T = TypeVar("_T")

_ONE_SERVER = ("memory", "http", "https", "s3", "s3a", "gs", "gcs")
"""Here one filesystem serves every URL."""
_IN_MEMORY_BYTES = 8 << 20
_THREADS = 8
_READS_TRIED = 3
_REMEMBERED = 10_000
_VOUCHED = ("etag", "version_id", "generation", "md5", "content_md5", "checksum_sha256")
_TIMES = ("mtime", "last_modified", "lastmodified", "modified", "updated", "created")
_CHANGE_SHOWS = {"size", *_TIMES, *_VOUCHED}


def remote_files(path: str) -> RemoteFiles:
    """The filesystem that a URL is on; one for all files of a server."""
    protocol = scheme_of(path)
    address = working_url(path).partition("://")[2].partition("/")[0].partition("?")[0]
    return _shared(protocol, "" if protocol in _ONE_SERVER else address)


class RemoteFiles(Filesystem):
    """See Filesystem. Raises: NotFound; StoreReadOnly; StoreUnavailable for whatever else goes wrong."""

    def __init__(self, protocol: str, address: str) -> None:
        self._protocol = protocol
        self._shown = f"{protocol}://{address.rpartition('@')[2]}"
        self._filesystem = FsspecFilesystem(f"{protocol}://{address}", self._shown, {})
        self._digests: dict[tuple[str, str, str], Digest] = {}

    def look(self, path: str) -> Found | None:
        info = self._info(path)
        if info is None:
            return None
        return Found("file" if info.get("type", "file") == "file" else "folder", int(info.get("size") or 0))

    def digest(self, path: str) -> Digest | None:
        info = self._file_info(path)
        if info is None:
            return None
        vouched = vouched_for(info)
        algorithm = active_algorithm.get()
        key = (algorithm, path, json.dumps(vouched, sort_keys=True)) if vouched else None
        if key is not None and (known := self._digests.get(key)):
            return known
        digest = self._read_digest(path, info, algorithm)
        if digest is not None and key is not None:
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            self._digests[key] = digest
        return digest

    def content_mark(self, path: str) -> dict[str, Plain] | None:
        info = self._file_info(path)
        if info is None:
            return None
        if vouched := vouched_for(info):
            return vouched
        digest = self._read_digest(path, info, active_algorithm.get())
        return None if digest is None else {"digest": digest}

    def stat_mark(self, path: str) -> dict[str, Plain] | None:
        info = self._file_info(path)
        return None if info is None else self._cheap_mark(path, info)

    def _cheap_mark(self, path: str, info: dict[str, Any]) -> dict[str, Plain]:
        lower = {name.lower().replace("-", "_"): value for name, value in info.items()}
        times = {name: str(lower[name]) for name in _TIMES if lower.get(name)}
        mark: dict[str, Plain] = vouched_for(info) or {"size": info.get("size")}
        if not times and len(mark) == 1:
            raise NotHashableError(
                f"File({path!r})", "its server tells its size at most; use identity='content' or 'path'"
            )
        return {**mark, **({"modified": next(iter(times.values()))} if times else {})}

    def open(self, path: str, mode: str, encoding: str | None) -> IO[Any]:
        if mode not in READING:
            return cast(IO[Any], Written(path, self._written(path, mode, encoding)))
        stream = self._reading(path)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding=encoding)

    @contextmanager
    def _written(self, path: str, mode: str, encoding: str | None) -> Iterator[IO[Any]]:
        with self._writing(path, append=mode.startswith("a")) as stream:
            if "b" in mode:
                yield stream
                return
            text = io.TextIOWrapper(stream, encoding=encoding)
            try:
                yield text
            finally:
                text.detach()

    def copy(self, source: str, destination: str) -> None:
        if self._protocol == "memory" or self._is_web:
            with self._reading(source) as stream, self._writing(destination, append=False) as to:
                copyfileobj(stream, to, COPY_BYTES)
            return
        places = self._place(source), self._place(destination)
        self._do(source, lambda fs: fs.cp_file(*places), writing=True)

    def remove(self, path: str) -> None:
        self._check_writable()
        if self._info(path) is not None:
            self._do(path, lambda fs: fs.rm_file(self._place(path)), writing=True)

    def touch(self, path: str) -> None:
        with self._writing(path, append=True):
            return

    def make_folder(self, path: str) -> None:
        self._check_writable()
        if self._filesystem.has_directories:
            self._do(path, lambda fs: fs.makedirs(self._place(path), exist_ok=True), writing=True)

    def remove_folder(self, path: str, *, recursive: bool) -> None:
        self._check_writable()
        below = self._below(path)
        if below and not recursive:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        for place, info in below.items():
            if info["type"] == "file":
                self._do(path, methodcaller("rm_file", place), writing=True)
        if self._filesystem.has_directories and self._do(path, lambda fs: fs.isdir(self._place(path))):
            self._do(path, lambda fs: fs.rm(self._place(path), recursive=True), writing=True)

    def manifest(self, folder: str, kind: str, like: bytes | None = None) -> bytes | None:
        """One listing; contents are read, in parallel threads, only where the server vouches for none."""
        below = self._below(folder)
        if not below and ((found := self.look(folder)) is None or found.kind != "folder"):
            return None
        root = self._place(folder).rstrip("/") + "/"
        algorithm = active_algorithm.get()
        if like is not None and len(below) > like.count(b"\0"):
            return None

        def marked(place: str) -> tuple[str, str, bytes]:
            path, info = place[len(root) :], below[place]
            if "\0" in path:
                raise NotHashableError(f"Dir({folder!r})", f"a name in it has a NUL: {path!r}")
            if info["type"] != "file":
                return f"{path}/", "f", b""
            full = joined(folder, path)
            if kind == "list":
                return path, "f", b""
            mark: dict[str, Plain] = (
                self._cheap_mark(full, info) if kind == "stat" else vouched_for(info) or {}
            )
            if not mark:
                digest = self._read_digest(full, info, algorithm)
                if digest is None:
                    raise NotHashableError(f"Dir({folder!r})", "a file went away while it was read")
                return path, "f", digest.encode()
            return path, "f", json.dumps(mark, sort_keys=True).encode()

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="valuestore-remote") as pool:
            return _manifest_of(pool.map(marked, below))

    def list_folder(self, folder: str) -> Iterator[tuple[str, str]]:
        if self._is_web:
            raise NotHashableError(folder, "over HTTP nothing tells what a folder holds")
        try:
            found = self._do(folder, lambda fs: fs.ls(self._place(folder), detail=True))
        except (NotFound, NotADirectoryError):
            return
        own = self._place(folder).strip("/")
        for info in found:
            place = str(info["name"]).strip("/")
            if place != own and place.startswith(own + "/"):
                yield place[len(own) + 1 :], "folder" if info.get("type") == "directory" else "file"

    @property
    def _is_web(self) -> bool:
        return self._filesystem.is_web

    def _do(self, path: str, work: Callable[[Any], _T], *, writing: bool = False) -> _T:
        return self._filesystem.do(path, lambda: work(self._filesystem.fs), writing=writing)

    def _place(self, path: str) -> str:
        """The path as fsspec wants it, credentials included."""
        return str(self._filesystem.fs._strip_protocol(working_url(path)))

    def _info(self, path: str) -> dict[str, Any] | None:
        try:
            return dict(self._do(path, lambda fs: _told(fs, self._place(path), self._shown)))
        except (NotFound, NotADirectoryError):
            return None

    def _file_info(self, path: str) -> dict[str, Any] | None:
        info = self._info(path)
        if info is not None and info.get("type", "file") != "file":
            raise NotHashableError(f"File({path!r})", "it is a directory")
        return info

    def _below(self, folder: str) -> dict[str, dict[str, Any]]:
        """Every file below a folder, by fsspec's path; ``data/`` never includes ``data2/``."""
        if self._is_web:
            raise NotHashableError(f"Dir({folder!r})", "over HTTP nothing tells what a folder holds")
        place = self._place(folder).rstrip("/")
        folders = {"withdirs": True} if self._filesystem.has_directories else {}
        try:
            found = self._do(folder, lambda fs: fs.find(place, detail=True, **folders))
        except NotFound:
            return {}
        return {
            name: {"type": "file", **info}
            for name, info in found.items()
            if name.startswith(place + "/") and len(name) > len(place) + 1
        }

    def _reading(self, path: str) -> BinaryIO:
        info = self._file_info(path)
        if info is None:
            raise NotFound(path, self._shown)
        size, place = info.get("size"), self._place(path)
        if self._filesystem.is_memory or (size is not None and size <= _IN_MEMORY_BYTES):
            return io.BytesIO(self._filesystem.cat(path, place))
        if size is None or self._is_web:
            with NamedTemporaryFile(prefix="valuestore-") as held:
                self._do(path, lambda fs: fs.get_file(place, held.name))
                return open(held.name, "rb")
        stream = self._do(path, lambda fs: fs.open(place, "rb"))
        return io.BufferedReader(Body(self._filesystem, path, stream, size))

    @contextmanager
    def _writing(self, path: str, *, append: bool) -> Iterator[BinaryIO]:
        self._check_writable()
        with NamedTemporaryFile(prefix="valuestore-") as held:
            if append and self._info(path) is not None:
                with self._reading(path) as old:
                    copyfileobj(old, held, COPY_BYTES)
            yield held.file  # type: ignore[misc]  # what it wraps is a BinaryIO by another name
            held.flush()
            self._send(path, held)

    def _send(self, path: str, held: Any) -> None:
        place = self._place(path)
        folder, _, name = place.rpartition("/")
        temp = f"{folder}/.{name[:60]}.{os.urandom(6).hex()}"
        if os.fstat(held.fileno()).st_size <= _IN_MEMORY_BYTES:
            held.seek(0)
            held = io.BytesIO(held.read())
        if self._filesystem.is_memory and folder:
            self._do(path, lambda fs: fs.makedirs(folder, exist_ok=True), writing=True)
        self._filesystem.write(path, place, temp, held, create=False)

    def _read_digest(self, path: str, info: dict[str, Any], algorithm: str) -> Digest | None:
        for _ in range(_READS_TRIED):
            try:
                with self._reading(path) as stream:
                    digest = hash_stream(stream, algorithm=algorithm)
            except NotFound:
                return None
            again = self._info(path)
            if again is None or _shows(again) == _shows(info):
                return None if again is None else digest
            info = again
        raise NotHashableError(f"File({path!r})", "its content keeps changing while it is read")

    def _check_writable(self) -> None:
        if self._is_web:
            raise StoreReadOnly(self._shown, "over HTTP one reads")


_shared = lru_cache(maxsize=64)(RemoteFiles)


def vouched_for(info: dict[str, Any]) -> dict[str, Plain] | None:
    """What the server says that changes whenever the content does: the first of ETag, version, checksum.

    With the size, never the size alone. A weak ETag (``W/``) promises too little.
    """
    lower = {name.lower().replace("-", "_").removesuffix("hash"): value for name, value in info.items()}
    for name in _VOUCHED:
        value = lower.get(name)
        if value and str(value) not in ("null", '""') and not str(value).startswith("W/"):
            return {name: str(value).strip('"'), "size": info.get("size")}
    return None


def _told(fs: Any, place: str, shown: str) -> Any:
    """What the filesystem tells of a path. Over HTTP, fsspec calls every failure a missing file."""
    try:
        return fs.info(place)
    except FileNotFoundError as error:
        status = getattr(error.__cause__, "status", None)
        if error.__cause__ is None or status in (404, 410):
            raise
        if status in (401, 403, 407):
            raise CredentialsRejected(shown, f"status {status}") from None
        reason = f"status {status}" if status else type(error.__cause__).__name__
        raise StoreUnavailable(shown, reason) from None


def _shows(info: dict[str, Any]) -> dict[str, str]:
    return {
        name: str(value) for name, value in info.items() if name.lower().replace("-", "_") in _CHANGE_SHOWS
    }


def _manifest_of(files: Iterator[tuple[str, str, bytes]]) -> bytes:
    """The manifest of files by their paths; an object whose name ends with a slash is an empty folder."""
    folders: dict[bytes, list[tuple[str, bytes, bytes]]] = {b"": []}
    for path, kind, mark in files:
        above, _, name = os.fsencode(path).rpartition(b"/")
        part = above
        while part and part not in folders:
            folders[part] = []
            part = part.rpartition(b"/")[0]
        if name:
            folders[above].append((kind, name, mark))
    return join_listings({folder: folder_listing(entries) for folder, entries in folders.items()})
