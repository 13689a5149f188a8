"""Streams of values: files whose failures are the store's."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from valuestore.stores.data import CHUNK_BYTES
from valuestore.stores.files.posix import Reading


def open_stream(fd: int, path: bytes) -> BinaryIO:
    """What the descriptor reads; it is closed with the stream. Reading raises StoreUnavailable."""
    return io.BufferedReader(_Reader(fd, path), CHUNK_BYTES // 4)


class _Reader(io.FileIO):
    def __init__(self, fd: int, path: bytes) -> None:
        super().__init__(fd, "rb")
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        with Reading(self._path):
            return super().readinto(buffer) or 0

    def readall(self) -> bytes:
        with Reading(self._path):
            return super().readall() or b""
