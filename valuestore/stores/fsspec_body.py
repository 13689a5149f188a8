"""Body: the first bytes of a file of a filesystem, all but the trailer. Called by ``FsspecStore.open``."""

from __future__ import annotations

import io
from typing import Any

from valuestore.errors import StoreUnavailable
from valuestore.stores.fsspec_filesystem import FsspecFilesystem


class Body(io.RawIOBase):
    """``size`` bytes of the stream, which it closes. Raises StoreUnavailable where they break off."""

    def __init__(self, filesystem: FsspecFilesystem, key: str, stream: Any, size: int) -> None:
        self._filesystem, self._key, self._stream, self._left = filesystem, key, stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), self._left)
        piece = self._filesystem.do(self._key, lambda: self._stream.read(wanted)) if wanted else b""
        if wanted and not piece:
            raise StoreUnavailable(self._filesystem.url, f"{self._key!r} ended {self._left} bytes too early")
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
