"""LocalFiles: files of this machine, through os alone. What a folder holds is local_folder.py's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from valuestore.errors import NotHashableError, StoreUnavailable
from valuestore.hashing import Digest
from valuestore.values.files.filesystem import COPY_BYTES, READING, Filesystem, Found, Written
from valuestore.values.files.local_folder import folder_manifest
from valuestore.values.files.stat_memory import stat_memory
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
        return folder_manifest(folder, kind, like)

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
