"""File: a path or URL whose content is part of the value.

Two Files are the same value when path as written and content are the same; time stamps do not count (for
other choices see external.py). A file's content is read once and remembered by its status. A cached result
that holds a File is used only while the file still has the content it had. Not a folder: that is a ``Dir``.
"""

from __future__ import annotations

from typing import IO, Any

from valuestore.hashing import Digest
from valuestore.values.files.external import External
from valuestore.values.files.filesystem import COPY_BYTES, MODES
from valuestore.values.files.location import scheme_of
from valuestore.values.files.staging import Staging, shell_copy_file
from valuestore.values.value import Plain


class File(External):
    """A file as a task's argument or result: ``File("data/a.csv")``, ``File("s3://bucket/a.csv")``.

    ``path`` is kept as written, without ``.`` segments and doubled slashes; links and ``..`` are not
    resolved. A URL is of any filesystem of fsspec, and loses what credentials it has; ``file://`` is a local
    path. The file need not exist yet: a missing one is an invalid value, not an error.

    Raises: BadReference.
    """

    type_name = "valuestore.File"

    def digest(self) -> Digest | None:
        """Digest of the content as it is now; None if the file is missing.

        Raises: StoreUnavailable if it cannot be read; NotHashableError if it is no file, or keeps changing.
        """
        return self._filesystem.digest(self.path)

    def _mark(self) -> dict[str, Plain]:
        if self.identity_kind == "path":
            return {"exists": self.isfile()}
        if self.identity_kind == "stat":
            return self._filesystem.stat_mark(self.path) or {"size": None}
        if self.identity_kind == "content":
            return {"digest": self.digest()}
        return self._filesystem.content_mark(self.path) or {"digest": None}

    def _is_there(self) -> bool:
        return self.isfile()

    def isfile(self) -> bool:
        """Whether a file is there, links followed."""
        found = self._filesystem.look(self.path)
        return found is not None and found.kind == "file"

    def isdir(self) -> bool:
        """Whether a folder is there, links followed."""
        found = self._filesystem.look(self.path)
        return found is not None and found.kind == "folder"

    @property
    def size(self) -> int:
        """Size in bytes. Raises: FileNotFoundError."""
        found = self._filesystem.look(self.path)
        if found is None:
            raise FileNotFoundError(2, "No such file", self.path)
        return found.size

    @property
    def basename(self) -> str:
        """The last name of the path."""
        return self.path.rpartition("/")[2]

    @property
    def dirname(self) -> str:
        """The path without its last name; empty if there is no other."""
        head, slash, _ = self.path.rpartition("/")
        return head or slash

    def open(self, mode: str = "r", encoding: str | None = None) -> IO[Any]:
        """Open for reading, or for writing atomically: readers see the old content or the new, never a part.

        Modes ``r rb w wb a ab``; text is UTF-8 unless ``encoding`` says otherwise. Folders above a written
        file are made. What is written appears at the end of the ``with``, or with ``close()``; an exception
        in the block, or not closing it, leaves the old content in place, on servers too.
        """
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: a File is opened with one of {', '.join(MODES)}")
        if "b" not in mode and encoding is None:
            encoding = "utf-8"
        return self._filesystem.open(self.path, mode, encoding)

    def read(self, mode: str = "r", encoding: str | None = None) -> Any:
        """The whole content: text, or bytes in mode ``rb``."""
        with self.open(mode, encoding) as stream:
            return stream.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole content as text."""
        return str(self.read("r", encoding))

    def read_bytes(self) -> bytes:
        """The whole content."""
        return bytes(self.read("rb"))

    def readlines(self, mode: str = "r", encoding: str | None = None) -> list[Any]:
        """The lines, each with its end."""
        with self.open(mode, encoding) as stream:
            return list(stream)

    def write(self, data: str | bytes, mode: str | None = None, encoding: str | None = None) -> None:
        """Replace the content, atomically, or in mode ``a`` or ``ab`` add to it; text is written as UTF-8."""
        with self.open(mode or ("w" if isinstance(data, str) else "wb"), encoding) as stream:
            stream.write(data)

    def touch(self) -> None:
        """Make an empty file if there is none, else set its time of change."""
        self._filesystem.touch(self.path)

    def remove(self) -> None:
        """Delete the file; one that is not there is fine."""
        self._filesystem.remove(self.path)

    def copy_to(self, destination: str | File, skip_if_exists: bool = False) -> File:
        """Copy the content, atomically, and on one server without moving it through here; the new File.

        ``skip_if_exists``: leave a file that is already there as it is, whatever it holds.
        """
        target = destination if isinstance(destination, File) else type(self)(destination, self.identity_kind)
        if target.path == self.path or (skip_if_exists and target.exists()):
            return target
        there = target._filesystem
        if there is self._filesystem:
            there.copy(self.path, target.path)
            return target
        with self.open("rb") as source, target.open("wb") as to:
            while chunk := source.read(COPY_BYTES):
                to.write(chunk)
        return target

    def shell_copy_to(self, destination: str | File, as_mount: bool = False) -> str:
        """A shell command that copies the file. See files/staging.py for ``as_mount``."""
        target = destination if isinstance(destination, File) else File(destination)
        return shell_copy_file(self.path, target.path, as_mount=as_mount)

    def stage(self, local: str | File | None = None) -> StagingFile:
        """This file and its local copy, by default of the same name in the working folder."""
        name = local if local is not None else self.basename if scheme_of(self.path) else self.path
        return StagingFile(name if isinstance(name, File) else type(self)(name, self.identity_kind), self)


class StagingFile(Staging):
    """A File and its local copy: ``File("s3://bucket/a.bam").stage()``."""

    type_name = "valuestore.StagingFile"
    _kind = File

    local: File
    remote: File
