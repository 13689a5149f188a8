"""Digests: which algorithms there are, how domains are kept apart, and the plain encoding that is hashed.

A digest is lower-case hex. The pre-image of every identity begins with a domain tag that carries the
encoding's version, so a value, a call and a task can never share a digest by accident. The one exception
is the digest of stored bytes (``hash_bytes`` without a domain): it is the bare digest, so that any tool
can check a payload. Called by every layer above; knows nothing of values, stores or SQL.
"""

from __future__ import annotations

import io
import pickle  # only its Pickler: this module writes, values/trust/gate.py alone reads
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, NewType, NoReturn, Protocol

import blake3
import xxhash

from valuestore.errors import ConfigError

Digest = NewType("Digest", str)
"""A content address: 32 (xxh3-128) or 64 (blake3-256) lower-case hex digits."""

ENCODING_VERSION = 1
"""Part of every domain tag. A new number changes every identity: a breaking release."""

DEFAULT_ALGORITHM = "xxh3-128"

active_algorithm: ContextVar[str] = ContextVar("active_algorithm", default=DEFAULT_ALGORITHM)
"""The algorithm of the identity being computed, for values that digest content of their own (File)."""

Bytes = bytes | bytearray | memoryview

_STREAM_CHUNK = 1 << 20
_HEX = frozenset("0123456789abcdef")


class Hasher(Protocol):
    """The running state of a digest, as hashlib, xxhash and blake3 have it."""

    def update(self, data: Any, /) -> Any: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True)
class Algorithm:
    """A digest algorithm: its name in a repository's settings and the length of its hex form."""

    name: str
    hex_length: int
    new: Callable[[], Hasher]
    hexdigest: Callable[[Any], str]


def _blake3_hexdigest(data: Any) -> str:
    return blake3.blake3(data).hexdigest()


ALGORITHMS = {
    "xxh3-128": Algorithm("xxh3-128", 32, xxhash.xxh3_128, xxhash.xxh3_128_hexdigest),
    "blake3-256": Algorithm("blake3-256", 64, blake3.blake3, _blake3_hexdigest),
}


def get_algorithm(name: str = DEFAULT_ALGORITHM) -> Algorithm:
    """The algorithm of that name. Raises: ConfigError, listing the names there are."""
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise ConfigError("digest", f"no algorithm {name!r}; there are {', '.join(ALGORITHMS)}") from None


_BY_LENGTH = {algorithm.hex_length: algorithm.name for algorithm in ALGORITHMS.values()}


def algorithm_of(digest: object) -> str | None:
    """The name of the algorithm that made a hex digest; None if this is none."""
    if not isinstance(digest, str) or not _HEX.issuperset(digest):
        return None
    return _BY_LENGTH.get(len(digest))


def is_digest(text: object) -> bool:
    """Whether this is a hex digest of a known algorithm: the only text accepted as an address."""
    return algorithm_of(text) is not None


def domain_tag(domain: str) -> bytes:
    """The bytes that every pre-image of this domain starts with."""
    return f"valuestore/{ENCODING_VERSION}/{domain}\0".encode()


@lru_cache(maxsize=10_000)
def value_tag(type_name: str, codec: str) -> bytes:
    """What stands before the canonical bytes of a value, so that equal bytes of two types differ."""
    return domain_tag("value") + f"{type_name}\0{codec}\0".encode()


def hash_bytes(data: Bytes, domain: str = "", *, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """Digest of ``data`` under ``domain``; without a domain, the bare digest that other tools compute too."""
    tag, chosen = _under(domain, algorithm)
    if not tag:
        return Digest(chosen.hexdigest(data))
    hasher = chosen.new()
    hasher.update(tag)
    hasher.update(data)
    return Digest(hasher.hexdigest())


@lru_cache(maxsize=1_000)
def _under(domain: str, algorithm: str) -> tuple[bytes, Algorithm]:
    """What stands before the bytes of a domain, and what digests them."""
    return domain_tag(domain) if domain else b"", get_algorithm(algorithm)


def hash_stream(stream: BinaryIO, domain: str = "", *, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """Digest of what is left in ``stream``, in pieces of 1 MiB; equal to ``hash_bytes`` of the same bytes."""
    hasher = get_algorithm(algorithm).new()
    if domain:
        hasher.update(domain_tag(domain))
    while chunk := stream.read(_STREAM_CHUNK):
        hasher.update(chunk)
    return Digest(hasher.hexdigest())


def hash_pieces(pieces: Iterable[Bytes], *, algorithm: str = DEFAULT_ALGORITHM) -> tuple[Digest, int]:
    """The bare digest of the pieces put together, and how many bytes they are."""
    hasher, size = get_algorithm(algorithm).new(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    return Digest(hasher.hexdigest()), size


def hash_struct(struct: Any, domain: str, *, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """Digest of plain data (see ``encode_plain``) under ``domain``. Raises: NotPlain."""
    tag, chosen = _under(domain, algorithm)
    return Digest(chosen.hexdigest(tag + encode_plain(struct)))


class NotPlain(Exception):
    """Something in the object is not plain data. Internal: callers lower the object or name the path."""


class _PlainPickler(pickle.Pickler):
    """Refuses everything that the C pickler does not write by itself, which makes it the plainness check."""

    def reducer_override(self, obj: Any) -> NoReturn:
        raise NotPlain(type(obj))


_idle: list[tuple[io.BytesIO, _PlainPickler]] = []
"""Picklers to use again: making one costs more than writing a short value."""

_IDLE_MAX_BYTES = 1 << 16
ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Plain data that holds nothing and nobody can change. Not of subclasses, which may have attributes."""
_UNSHARED = ATOMS - {str, bytes}


def encode_plain(obj: Any) -> bytes:
    """The canonical bytes of plain data: None, bool, int, float, str, bytes, and list, tuple, dict of such.

    Equal data gives equal bytes in every process and Python version: protocol 3 without a memo writes
    content alone, and a type that is not exactly one of these is refused. dict order counts. NaNs keep
    their bits; ``values.canonical`` makes them one. Format: pickle protocol 3 (PEP 307, PEP 3154).

    Raises: NotPlain for anything else; RecursionError when nested too deeply; ValueError for cycles;
    OverflowError for a single str or bytes of 4 GiB and more.
    """
    if type(obj) in _UNSHARED:  # the same bytes for a third of the time, since these never meet the memo
        return pickle.dumps(obj, 3)
    try:
        buffer, pickler = _idle.pop()  # taken away while in use: a finalizer that runs meanwhile may hash too
    except IndexError:
        buffer = io.BytesIO()
        pickler = _PlainPickler(buffer, 3)
        pickler.fast = True
    pickler.dump(obj)  # one that raised is not used again
    data = buffer.getvalue()
    if len(data) <= _IDLE_MAX_BYTES:
        buffer.seek(0)
        buffer.truncate()
        _idle.append((buffer, pickler))
    return data


class _Long(Exception):
    """The bytes of an object fill a frame."""


class _OneFrame:
    """What a pickler writes to: nothing, and no more than one frame of it."""

    frozensets = False

    def write(self, data: Any) -> None:
        if len(data) >= _FRAME_BYTES:
            raise _Long
        self.frozensets = self.frozensets or _FROZENSET in bytes(data)


_FRAME_BYTES = 1 << 16
_FROZENSET = b"\x91"
_idle_measures: list[tuple[_OneFrame, _PlainPickler]] = []


def is_short_plain(obj: Any) -> bool:
    """Whether the canonical bytes take less than about 64 KiB, found out without writing more than these.

    Protocol 4 hands over what it has in frames of that size (PEP 3154), so that an object whose parts are
    shared until they would fill the memory is left at the first. Sets, which that protocol knows, count by
    their bytes. False as well if it cannot tell. Raises: NotPlain, RecursionError as ``encode_plain``.
    """
    try:
        frame, pickler = _idle_measures.pop()
    except IndexError:
        frame = _OneFrame()
        pickler = _PlainPickler(frame, 4)
        pickler.fast = True
    try:
        pickler.dump(obj)  # one that raised is not used again
    except (_Long, KeyError, ValueError):
        return False
    if not frame.frozensets:  # CPython counts the levels of each frozenset up and not down (save_frozenset)
        _idle_measures.append((frame, pickler))
    return True
