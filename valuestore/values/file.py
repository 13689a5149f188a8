"""File: a path whose content is part of the value.

Two Files are the same value when path as written and content are the same; time stamps do not count.
Digests are remembered by the file's stat (``StatMemory``), so an unchanged file is read once. A cached
result that holds a File is used only while the file still has the content it had. Local paths; not a
directory.
"""

from __future__ import annotations

import os
import posixpath
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from valuestore.errors import BadReference, NotHashableError, StoreUnavailable
from valuestore.hashing import Digest, active_algorithm, hash_stream
from valuestore.values.value import Plain, Value

_RACY_NS = 2_000_000_000
_READS_TRIED = 3
_REMEMBERED = 200_000

Fingerprint = tuple[int, int, int, int, int]


class StatMemory:
    """Content digests by (device, inode, size, mtime_ns, ctime_ns). Thread-safe, bounded.

    A file touched less than two seconds ago is not remembered: it could change again within its time
    stamp's granularity (the "racily clean" problem of git's index).
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[str, Fingerprint], Digest] = {}
        self._lock = threading.Lock()

    def digest(self, path: str) -> Digest | None:
        """Digest of the file's content, or None if there is no regular file.

        Raises: StoreUnavailable if it cannot be read; NotHashableError for a directory or a file that
        keeps changing.
        """
        algorithm = active_algorithm.get()
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                known = self._digests.get((algorithm, _fingerprint(status)))
                return known if known is not None else self._read(path, algorithm)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(path, error.strerror or str(error)) from error
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise NotHashableError(f"File({path!r})", f"it is {kind}")

    def _read(self, path: str, algorithm: str) -> Digest:
        for _ in range(_READS_TRIED):
            with open(path, "rb", buffering=0) as stream:
                before = _fingerprint(os.fstat(stream.fileno()))
                digest = hash_stream(stream, algorithm=algorithm)
                after = _fingerprint(os.fstat(stream.fileno()))
            if before == after:
                if time.time_ns() - max(after[3:]) > _RACY_NS:
                    self._remember((algorithm, after), digest)
                return digest
        raise NotHashableError(f"File({path!r})", "its content keeps changing while it is read")

    def _remember(self, key: tuple[str, Fingerprint], digest: Digest) -> None:
        with self._lock:
            if len(self._digests) >= _REMEMBERED:
                self._digests.clear()
            self._digests[key] = digest


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


_memory = StatMemory()

_NOT_RECORDED = ""
"""Expected digest of a File that the user made; None is that of one recorded while it was missing."""


class File(Value):
    """A file as a task's argument or result: ``File("data/a.csv")``.

    ``path`` is kept as written, without ``.`` segments and doubled slashes; links and ``..`` are not
    resolved. The file need not exist yet: a missing one is an invalid value, not an error.
    """

    type_name = "valuestore.File"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text: object = os.fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise BadReference(repr(path), "a File needs a non-empty path without NUL")
        if "://" in text:
            raise BadReference(text.partition("://")[0] + "://...", "a File takes a local path")
        self.path = _lexical(text)
        self._expected: str | None = _NOT_RECORDED

    def digest(self) -> Digest | None:
        """Digest of the content as it is now; None if the file is missing."""
        return _memory.digest(self.path)

    def identity(self) -> Plain:
        """Path as written and content digest."""
        return {"path": self.path, "digest": self.digest()}

    @classmethod
    def from_state(cls, state: Plain) -> File:
        """The File as it was recorded; ``is_valid`` tells whether it still is."""
        file = cls(state["path"])
        file._expected = state["digest"]
        return file

    def is_valid(self) -> bool:
        """Whether the file is there and, if this File was recorded, has the content it had then."""
        token = active_algorithm.set(
            "blake3-256" if self._expected and len(self._expected) == 64 else "xxh3-128"
        )
        try:
            current = self.digest()
        except NotHashableError:
            return False
        finally:
            active_algorithm.reset(token)
        return current is not None and self._expected in (_NOT_RECORDED, current)

    # --- the file itself ---------------------------------------------------------------------

    def exists(self) -> bool:
        """Whether something is at the path."""
        return os.path.exists(self.path)

    @property
    def size(self) -> int:
        """Size in bytes. Raises: FileNotFoundError."""
        return os.stat(self.path).st_size

    @contextmanager
    def open(self, mode: str = "r", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Open for reading, or for writing atomically: readers see the old content or the new, never a part.

        Modes ``r rb w wb``; text is UTF-8 unless ``encoding`` says otherwise. Folders above a written
        file are made; an exception in the ``with`` block leaves the old content in place.
        """
        if mode not in ("r", "rb", "w", "wb"):
            raise ValueError(f"mode {mode!r}: a File is opened with 'r', 'rb', 'w' or 'wb'")
        if "b" not in mode and encoding is None:
            encoding = "utf-8"
        if mode.startswith("r"):
            with open(self.path, mode, encoding=encoding) as stream:
                yield stream
            return
        folder, name = os.path.split(self.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(
            folder, f".{name[:200]}.{os.getpid()}.{threading.get_ident()}.{time.time_ns()}"
        )
        try:
            with open(temporary, mode.replace("w", "x"), encoding=encoding) as stream:
                yield stream
            os.replace(temporary, self.path)
        except BaseException:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole content as text."""
        with self.open("r", encoding) as stream:
            return str(stream.read())

    def read_bytes(self) -> bytes:
        """The whole content."""
        with self.open("rb") as stream:
            return bytes(stream.read())

    def write(self, data: str | bytes) -> None:
        """Replace the content, atomically; text is written as UTF-8."""
        with self.open("w" if isinstance(data, str) else "wb") as stream:
            stream.write(data)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"File({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


def _lexical(path: str) -> str:
    """Without ``.`` segments and doubled slashes. ``..`` stays: after a link it is not the parent."""
    root = "/" if path.startswith("/") else ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return root + posixpath.join(*parts) if parts else root or "."
