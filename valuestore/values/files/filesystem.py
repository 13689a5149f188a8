"""Filesystem: what File, FileSet and Dir ask of the place where they are.

Two implementations, and external.py chooses: local_files.py, and remote_files.py for whatever fsspec knows.
Paths are locations as location.py makes them. All of it is literal; patterns live in fileset.py.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Protocol

from valuestore.errors import ValuestoreWarning
from valuestore.hashing import Digest
from valuestore.values.value import Plain

READING = ("r", "rb")
MODES = (*READING, "w", "wb", "a", "ab")
COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path. ``kind``: ``file``, ``folder`` or ``other`` (pipe, socket, device)."""

    kind: str
    size: int


class Written:
    """Its file appears with ``close``, or at the end of a ``with`` that raises nothing, or not at all."""

    def __init__(self, path: str, writing: AbstractContextManager[IO[Any]]) -> None:
        self.closed = True
        self._path = path
        self._writing = writing
        self._stream = writing.__enter__()
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> IO[Any]:
        return self._stream

    def __exit__(self, *error: Any) -> None:
        if not self.closed:
            self.closed = True
            self._writing.__exit__(*error)

    def close(self) -> None:
        """Put it in its place."""
        self.__exit__(None, None, None)

    def __del__(self) -> None:
        if not self.closed:
            said = f"{self._path} was opened for writing and not closed, so nothing is written there"
            warnings.warn(said, ResourceWarning, source=self, stacklevel=2)


@cache
def say_once(problem: str) -> None:
    """Warn of a place that gives nothing, where something was meant, or less than one may think."""
    warnings.warn(problem, ValuestoreWarning, stacklevel=2)


class Filesystem(Protocol):
    """Thread-safe. Absence is None or False where it is an answer, NotFound where it is not."""

    def look(self, path: str) -> Found | None:
        """What is there, links followed. Raises: StoreUnavailable."""

    def digest(self, path: str) -> Digest | None:
        """Digest of a file's content; None if there is none. Raises: StoreUnavailable, NotHashableError."""

    def content_mark(self, path: str) -> dict[str, Plain] | None:
        """Its digest, or what a server says that changes with the content; or None. Raises: as ``digest``."""
        digest = self.digest(path)
        return None if digest is None else {"digest": digest}

    def stat_mark(self, path: str) -> dict[str, Plain] | None:
        """Size and times, as far as they tell changes apart; no content is read.

        Raises: StoreUnavailable; NotHashableError where the filesystem keeps neither times nor identifiers.
        """

    def open(self, path: str, mode: str, encoding: str | None) -> IO[Any]:
        """Open for one of ``MODES``. What is written appears when it is closed, whole or not at all."""

    def copy(self, source: str, destination: str) -> None:
        """Copy one file within this filesystem. Whole or not at all."""

    def remove(self, path: str) -> None:
        """Delete a file; one that is not there is fine."""

    def touch(self, path: str) -> None:
        """Set the time of change to now; make an empty file if there is none."""

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it; one that is there is fine."""

    def remove_folder(self, path: str, *, recursive: bool) -> None:
        """Delete a folder; one that is not there is fine. Raises: OSError if it is not empty."""

    def manifest(self, folder: str, kind: str, like: bytes | None = None) -> bytes | None:
        """The manifest (manifest.py) of a folder; None if it is not there.

        ``kind``: files are marked by ``content``, by ``stat``, or in any way by ``list``. With ``like``, None
        too as soon as something turns up that this manifest does not have.
        """

    def list_folder(self, folder: str) -> Iterator[tuple[str, str]]:
        """Name and kind (``file``, ``folder``, ``link to folder``, ``other``) of what is in a folder."""
