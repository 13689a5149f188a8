"""Frames: the stored form of what ``Compressed`` compressed, and how it is read without trusting it.

First a frame that zstd skips, which says how many bytes there are and what their digest is; then one zstd
frame, and nothing more. Format: RFC 8878; section 3.1.2 for skippable frames.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from valuestore.errors import StoreUnavailable
from valuestore.hashing import get_algorithm
from valuestore.stores.base import CHUNK_BYTES

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

SIGNATURE = struct.pack("<II", 0x184D2A5E, 40) + b"valuestore zstd\x01"
_FACTS = struct.Struct("<Q16s")
HEADER_BYTES = len(SIGNATURE) + _FACTS.size


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first frame says of the data."""

    size: int
    digest: str

    def header(self) -> bytes:
        return SIGNATURE + _FACTS.pack(self.size, bytes.fromhex(self.digest))


def read_facts(head: bytes) -> Facts | None:
    if not head.startswith(SIGNATURE) or len(head) < HEADER_BYTES:
        return None
    size, digest = _FACTS.unpack_from(head, len(SIGNATURE))
    return Facts(size, digest.hex())


def read_up_to(stream: BinaryIO, count: int) -> bytes:
    """That many bytes, or fewer only at the end."""
    head = b""
    while len(head) < count and (piece := stream.read(count - len(head))):
        head += piece
    return head


class Rest(io.RawIOBase):
    """A stream of which some was read already, from its beginning."""

    def __init__(self, stream: BinaryIO, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        piece = piece or self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class Decoder(Rest):
    """The data of a zstd frame: no more of it than its size, and at the end it has to be the data it was."""

    def __init__(self, stream: BinaryIO, facts: Facts, damaged: Callable[[str], StoreUnavailable]) -> None:
        super().__init__(stream, b"")
        self._facts = facts
        self._damaged = damaged
        self._unpacker = zstd.ZstdDecompressor()
        self._hasher = get_algorithm().new()
        self._left = facts.size
        self._verified = False

    def readinto(self, buffer: Any, /) -> int:
        piece = self._unpack(min(len(buffer), self._left)) if self._left else b""
        self._left -= len(piece)
        self._hasher.update(piece)
        if not self._left and not self._verified:
            self._verify()
        buffer[: len(piece)] = piece
        return len(piece)

    def readall(self) -> bytes:
        pieces = []
        buffer = memoryview(bytearray(min(self._left, CHUNK_BYTES) or 1))
        while count := self.readinto(buffer):
            pieces.append(bytes(buffer[:count]))
        return b"".join(pieces)

    def _unpack(self, most: int) -> bytes:
        """At least one byte, and at most that many."""
        while True:
            packed = b""
            if self._unpacker.needs_input:
                packed = self._stream.read(CHUNK_BYTES)
                if not packed:
                    raise self._damaged("it ends too early")
            piece = self._decompress(packed, most)
            if piece:
                return piece
            if self._unpacker.eof:
                raise self._damaged(f"it has {self._left} bytes less than recorded")

    def _verify(self) -> None:
        while not self._unpacker.eof:
            packed = self._stream.read(CHUNK_BYTES) if self._unpacker.needs_input else b""
            if not packed and self._unpacker.needs_input:
                raise self._damaged("it ends too early")
            if self._decompress(packed, 1):
                raise self._damaged("it has more bytes than recorded")
        if self._unpacker.unused_data or self._stream.read(1):
            raise self._damaged("something follows it")
        if self._hasher.hexdigest() != self._facts.digest:
            raise self._damaged("it has another digest than recorded")
        self._verified = True

    def _decompress(self, packed: bytes, most: int) -> bytes:
        try:
            return self._unpacker.decompress(packed, most)
        except (zstd.ZstdError, EOFError) as error:
            reason = str(error)
        raise self._damaged(reason)
