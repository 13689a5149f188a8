"""Data: what callers put, in whatever form, as pieces of bytes."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, TypeAlias, cast

from valuestore.errors import SizeMismatch
from valuestore.hashing import Bytes

Data: TypeAlias = Bytes | BinaryIO | Iterable[Bytes]
"""What ``put`` takes: the bytes, an open binary stream (read from where it stands), or pieces of bytes."""

CHUNK_BYTES = 1 << 20
"""Streams are read in pieces of this size."""

DAMAGED = {errno.EIO, errno.EBADMSG, errno.EILSEQ, getattr(errno, "EUCLEAN", errno.EIO)}
"""What the OSError says that caused a StoreUnavailable if the bytes are there and lost."""


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


def counted(
    chunks: Iterable[bytes | memoryview], check: Callable[[int], object]
) -> Iterator[bytes | memoryview]:
    """The same chunks; before each, ``check`` is told how many bytes there are with it, and may raise."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        check(total)
        yield chunk


def _pieces(data: Any) -> Iterator[bytes | memoryview]:
    if (buffer := as_buffer(data)) is not None:
        yield buffer
        return
    read = getattr(data, "read", None)
    if isinstance(data, str) or (read is None and not isinstance(data, Iterable)):
        raise TypeError(f"a store keeps bytes, not {type(data).__name__}; encode a text, open a file first")
    source = iter(lambda: read(CHUNK_BYTES), b"") if read is not None else iter(data)
    for piece in source:
        chunk = as_buffer(piece)
        if chunk is None:
            raise TypeError(f"a store keeps bytes, but the data gave {type(piece).__name__}")
        yield chunk


class Replayed:
    """Pieces that are made anew each time they are gone through, so that a put of them can be tried again."""

    def __init__(self, begin: Callable[[], Iterator[bytes]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[bytes]:
        return self._begin()


# --- Pieces: a stream of bytes cut to one length, for servers that take large values piece by piece.


def cut(chunks: Iterable[bytes | memoryview], length: int) -> Iterator[bytes | memoryview]:
    """The same bytes in pieces of ``length``; only the last one is shorter. No chunks, no pieces.

    A chunk that may change is copied before the next one is asked for: its owner may use it again.
    """
    held: list[bytes] = []
    room = length
    for chunk in chunks:
        view = memoryview(chunk)
        while len(view) > room:
            yield _join(held, view[:room])
            held, room, view = [], length, view[room:]
        held.append(chunk if isinstance(chunk, bytes) and len(view) == len(chunk) else bytes(view))
        room -= len(view)
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


def _join(held: Sequence[bytes], view: memoryview) -> bytes | memoryview:
    if held:
        return b"".join((*held, view))
    return view if view.readonly else bytes(view)


# --- Attributes: what callers note beside the data, in JSON and nothing else.


Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Attrs: TypeAlias = Mapping[str, Json] | None

_ATTRS_MAX_DEPTH = 100
_INT_MAX_BITS = 14_000  # json refuses integers of more than 4300 digits, see sys.set_int_max_str_digits


def copy_attrs(attrs: Mapping[str, Json]) -> dict[str, Any]:
    """An independent copy of the attributes, all the way down.

    Raises: TypeError, naming the place, for anything that JSON would not give back as it was.
    """
    if not isinstance(attrs, Mapping):
        raise TypeError(f"attributes are a mapping, not {type(attrs).__name__}")
    copied = _copy_json(dict(attrs), "attrs", 0)
    return cast(dict[str, Any], copied)


def _copy_json(value: Any, place: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int and value.bit_length() <= _INT_MAX_BITS:
        return value
    if kind is float and math.isfinite(value):
        return value
    if depth > _ATTRS_MAX_DEPTH:
        raise TypeError(f"attributes nest at most {_ATTRS_MAX_DEPTH} deep")
    if kind is list:
        return [_copy_json(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _copy_json(item, f"{place}[{name!r}]", depth + 1) for name, item in value.items()}
    what = "a dict whose keys are not all str" if kind is dict else kind.__name__
    if kind is float:
        what = repr(value)
    raise TypeError(f"{place} is not a JSON value: {what}")


# --- What a store answers: Stat of one key, Page of a listing, SignedUrl for somebody without credentials.


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a key without reading it. ``attrs`` is the caller's own copy."""

    key: str
    size: int
    """In bytes."""
    modified: datetime
    """When it was put; aware, UTC; at least to the second."""
    etag: str
    """Changes exactly when the content does; comparable within one store only. No quotes, no ``W/``."""
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A run of keys in byte order. ``cursor`` is the last key of it, or None exactly when no more follow."""

    keys: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL that lets its holder make one kind of request, with the headers that the request must carry."""

    url: str
    headers: dict[str, str]
