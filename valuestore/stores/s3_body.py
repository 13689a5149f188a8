"""Body: the answer to one request for an object, as a stream. Called by ``S3Store.open``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from valuestore.errors import StoreUnavailable
from valuestore.stores.s3_client import S3Client
from valuestore.stores.s3_failure import FAILURES


class Body(io.RawIOBase):
    """The bytes of one answer. Raises StoreUnavailable where they break off."""

    def __init__(self, client: S3Client, key: str, size: int, pieces: Iterator[Any]) -> None:
        self._client = client
        self._key = key
        self._left = size
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._piece:
            self._piece = self._next()
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def readall(self) -> bytes:
        pieces = [self._piece, *iter(self._next, b"")]
        self._piece = memoryview(b"")
        return b"".join(pieces)

    def _next(self) -> memoryview:
        """The next piece, empty at the end."""
        if not self._left:
            return memoryview(b"")
        try:
            piece = memoryview(next(self._pieces, b""))
        except FAILURES as error:
            raise self._client.failed_to_read(error) from None
        if not piece:
            raise StoreUnavailable(repr(self._key), f"its stream ended {self._left} bytes too early")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._pieces = iter(())
        super().close()
