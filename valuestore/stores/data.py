"""Data: what callers put, in whatever form, as pieces of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypeAlias

from valuestore.errors import SizeMismatch
from valuestore.hashing import Bytes

Data: TypeAlias = Bytes | BinaryIO | Iterable[Bytes]
"""What ``put`` takes: the bytes, an open binary stream (read from where it stands), or pieces of bytes."""

CHUNK_BYTES = 1 << 20
"""Streams are read in pieces of this size."""


def as_buffer(data: Data) -> bytes | memoryview | None:
    """The data as one run of bytes, without a copy where possible; None if it has to be streamed."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        view = memoryview(data)
        return view.cast("B") if view.c_contiguous else view.tobytes()
    return None


def iter_chunks(key: str, data: Data, size: int | None = None) -> Iterator[bytes | memoryview]:
    """The data in pieces, none of them empty. A stream is read as it is asked for, and left open.

    Raises: SizeMismatch as soon as the data is longer than ``size``, or at its end if shorter; TypeError
    for text.
    """
    total = 0
    for chunk in _pieces(data):
        total += len(chunk)
        if size is not None and total > size:
            raise SizeMismatch(key, size, total)
        if chunk:
            yield chunk
    if size is not None and total != size:
        raise SizeMismatch(key, size, total)


def _pieces(data: Any) -> Iterator[bytes | memoryview]:
    if (buffer := as_buffer(data)) is not None:
        yield buffer
        return
    if isinstance(data, str):
        raise TypeError("a store keeps bytes, not str; encode the text first")
    read = getattr(data, "read", None)
    source = iter(lambda: read(CHUNK_BYTES), b"") if read is not None else iter(data)
    for piece in source:
        chunk = as_buffer(piece)
        if chunk is None:
            raise TypeError(f"a store keeps bytes, but the data gave {type(piece).__name__}")
        yield chunk
