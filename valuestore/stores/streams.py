"""Streams that ``open`` gives where the bytes come piece by piece; all are gone through like a file."""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, BinaryIO

from valuestore.stores.data import CHUNK_BYTES


class Rest(io.RawIOBase):
    """A stream, which it closes, of which some was read already."""

    def __init__(self, stream: BinaryIO, head: bytes = b"") -> None:
        self._stream = stream
        self._head = head

    def readable(self) -> bool:
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        back = len(self._head) if whence == io.SEEK_CUR else 0
        self._head = b""
        return self._stream.seek(offset - back, whence)

    def readinto(self, buffer: Any, /) -> int:
        piece, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        piece = piece or self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class Stream(Rest):
    """``size`` bytes. What a subclass reads stands at ``_at``, and moves when somebody reads elsewhere."""

    def __init__(self, size: int, stream: Any = None) -> None:
        super().__init__(stream or io.BytesIO())
        self._size = size
        self._at = self._position = 0

    @abstractmethod
    def _read(self, count: int) -> bytes | memoryview:
        """At most so many bytes of those at ``_at``, and one at least. Raises: StoreUnavailable."""

    def _begin(self, position: int) -> int:
        """Stand there, or before; say where."""
        return position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position = offset + (0, self._position, self._size)[whence]
        if position < 0:
            raise ValueError(f"{position} is before the beginning")
        self._position = position
        return position

    def readinto(self, buffer: Any, /) -> int:
        piece = self._take(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._take(CHUNK_BYTES), b""))

    def _take(self, most: int) -> bytes | memoryview:
        """The next bytes; none at the end."""
        if (count := min(most, self._size - self._position)) <= 0:
            return b""
        if not 0 <= self._position - self._at <= CHUNK_BYTES:
            self._at = self._begin(self._position)
        while (gap := self._position - self._at) > 0:
            self._at += len(self._read(min(gap, CHUNK_BYTES)))
        piece = self._read(count)
        self._at = self._position = self._position + len(piece)
        return piece
