"""Transfer: values too large for one request, on their way to a Redis server and back.

They go in pieces, each within the timeout, by way of a temporary name that expires if nobody removes it. So
memory stays bounded on this side, and whole values appear and are read at one instant all the same.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

from valuestore.errors import StoreUnavailable
from valuestore.hashing import get_algorithm
from valuestore.stores.base import Data, as_buffer
from valuestore.stores.redis_client import RedisClient

PIECE_BYTES = 8 << 20
TEMP_MILLISECONDS = 600_000
"""After this time without a transfer, a temporary name is gone."""


def upload(server: RedisClient, key: str, temp: str, pieces: Iterable[bytes | memoryview]) -> tuple[str, int]:
    """Gather the pieces under the temporary name; return digest and size."""
    size, hasher = 0, get_algorithm().new()
    for piece in pieces:
        length, _ = server.do_all(key, ("APPEND", temp, piece), ("PEXPIRE", temp, TEMP_MILLISECONDS))
        hasher.update(piece)
        size += len(piece)
        if length != size:
            raise StoreUnavailable(server.url, f"it dropped {key!r} while that was being written")
    return hasher.hexdigest(), size


class TempReader(io.RawIOBase):
    """Reads a copy that the server made for it, and removes it in the end."""

    def __init__(self, server: RedisClient, key: str, temp: str, size: int) -> None:
        self._server = server
        self._key = key
        self._temp = temp
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = min(len(buffer), self._size - self._position, PIECE_BYTES)
        if count:
            last = self._position + count - 1
            commands = (
                ("GETRANGE", self._temp, self._position, last),
                ("PEXPIRE", self._temp, TEMP_MILLISECONDS),
            )
            data, _ = self._server.do_all(self._key, *commands)
            if len(data) != count:
                raise StoreUnavailable(
                    self._server.url, f"it dropped {self._key!r} while that was being read"
                )
            buffer[:count] = data
            self._position += count
        return count

    def readall(self) -> bytes:
        data = bytearray(self._size - self._position)
        view, position = memoryview(data), 0
        while count := self.readinto(view[position:]):
            position += count
        return bytes(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._server.forget(self._temp)


def known_size(data: Data) -> int | None:
    """The size, where it can be told without reading."""
    if (buffer := as_buffer(data)) is not None:
        return len(buffer)
    file = getattr(data, "raw", data)
    if isinstance(file, io.FileIO | io.BytesIO) and file.seekable():
        stream = cast(BinaryIO, data)
        position = stream.tell()
        size = stream.seek(0, io.SEEK_END) - position
        stream.seek(position)
        return size
    return None
