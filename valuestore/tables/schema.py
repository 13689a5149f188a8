"""Schema: what makes bytes of the rows of a table, and rows of bytes.

A row is eight bytes that mark its schema, the length of each attribute in four bytes, and the attributes, in
the order of their names; so it does not matter in which order they are declared, nor is there a limit below
Redis' own 512 MiB. The key of a row is the bytes of its attribute, or of each, with their lengths.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from valuestore.errors import CodecError, TableError, is_foreign
from valuestore.hashing import hash_bytes
from valuestore.tables.codecs import Codec

Row = TypeVar("Row")
Score = int | float


class Encoded(NamedTuple):
    """A row as a table keeps it; its scores are in the order of the indexes' names."""

    key: bytes
    data: bytes
    scores: tuple[Score, ...]


class Schema(Generic[Row]):
    """The attributes ``codecs`` names, the key among them, and the ``indexes``. Raises: TableError."""

    def __init__(
        self,
        key: str | tuple[str, ...],
        codecs: Mapping[str, Codec],
        indexes: Mapping[str, Callable[[Row], int | float]],
        get: Callable[[Row, str], Any],
        make: Callable[[dict[str, Any]], Row],
    ) -> None:
        self._is_composite = isinstance(key, tuple)
        self._key: tuple[str, ...] = key if isinstance(key, tuple) else (key,)
        if not self._key:
            raise TableError("key ()", "it names an attribute, or several")
        for name in (*self._key, *codecs):
            if type(name) is not str or isinstance(codecs.get(name), type | None):
                raise TableError(f"attribute {name!r}", "it needs a codec, as in {'id': Int64()}")
        self._names = tuple(sorted(codecs))
        self._encoders = [(name, codecs[name].encode) for name in self._names]
        inner = ((name, codecs[name]) for name in self._names)
        self._decoders = [(name, getattr(codec, "_decode", codec.decode)) for name, codec in inner]
        self._of_key = [self._names.index(name) for name in self._key]
        self._get, self._make = get, make
        self.indexes = tuple(sorted(indexes))
        self._scores = [(name, indexes[name]) for name in self.indexes]
        facts = [self._key, [(name, codecs[name].name) for name in self._names]]
        self.mark = bytes.fromhex(hash_bytes(json.dumps(facts).encode())[:16])
        self._lengths = struct.Struct(f">{len(self._names)}I")
        self._start = len(self.mark) + self._lengths.size

    def place(self, index: str) -> int:
        """Which of the indexes that is. Raises: TableError."""
        try:
            return self.indexes.index(index)
        except ValueError:
            known = ", ".join(self.indexes) or "none"
            raise TableError(f"index {index!r}", f"the table has {known}") from None

    def encode(self, row: Row) -> Encoded:
        """Raises: TableError for a missing attribute or a score that is no number; CodecError."""
        parts = []
        for name, encode in self._encoders:
            try:
                value = self._get(row, name)
            except (LookupError, AttributeError, TypeError) as error:
                raise TableError(f"attribute {name!r}", f"a row lacks it: {error!r}") from error
            parts.append(_encoded(name, encode, value))
        data = b"".join((self.mark, self._lengths.pack(*map(len, parts)), *parts))
        scores = tuple([_scored(name, function, row) for name, function in self._scores])
        return Encoded(self._joined(parts), data, scores)

    def encode_key(self, key: Any) -> bytes:
        """Raises: TableError; CodecError."""
        values = key if self._is_composite else (key,)
        if not isinstance(values, tuple) or len(values) != len(self._key):
            raise TableError(f"key {key!r}", f"it has {' and '.join(self._key)}")
        encoders = (self._encoders[place] for place in self._of_key)
        parts = [_encoded(*each, value) for each, value in zip(encoders, values, strict=True)]
        return self._joined_key(parts)

    def decode(self, data: bytes) -> Row:
        """Raises: CodecError for bytes that are no row of this schema."""
        row = {}
        for (name, decode), part in zip(self._decoders, self._parts(data), strict=True):
            try:
                row[name] = decode(part)
            except Exception as error:
                raise _of_attribute(name, error) from error
        return self._make(row)

    def key_of(self, data: bytes) -> bytes:
        """The key of a row. Raises: as ``decode``."""
        return self._joined(self._parts(data))

    def score(self, index: str, row: Row) -> Score:
        """Raises: TableError, if the row has none, or it is no number."""
        return _scored(*self._scores[self.place(index)], row)

    def _parts(self, data: bytes) -> Sequence[bytes]:
        if not data.startswith(self.mark):
            raise CodecError("a row of another schema", "give the table the codecs that it was written with")
        try:
            parts, at = [], self._start
            for length in self._lengths.unpack_from(data, len(self.mark)):
                parts.append(data[at : at + length])
                at += length
        except struct.error:
            at = -1
        if at != len(data):
            raise CodecError("a row", f"it is damaged: {len(data)} bytes are not what it says")
        return parts

    def _joined(self, parts: Sequence[bytes]) -> bytes:
        return self._joined_key([parts[place] for place in self._of_key])

    def _joined_key(self, parts: Sequence[bytes]) -> bytes:
        if not self._is_composite:
            return parts[0]
        return b"".join(piece for part in parts for piece in (len(part).to_bytes(4, "big"), part))


def _encoded(name: str, encode: Callable[[Any], Any], value: Any) -> bytes:
    try:
        data = encode(value)
    except Exception as error:
        raise _of_attribute(name, error) from error
    if type(data) is not bytes:
        raise CodecError(name, f"its codec gave {type(data).__name__}, not bytes")
    return data


def _scored(name: str, function: Callable[[Any], Any], row: Any) -> Score:
    try:
        score: Score = function(row)
        score = score if isinstance(score, float) else operator.index(score)
    except Exception as error:
        if not is_foreign(error):
            raise
        raise TableError(f"index {name!r}", f"no score: {type(error).__name__}: {error}") from error
    if score != score:
        raise TableError(f"index {name!r}", "a score is no NaN")
    return score


def _of_attribute(name: str, error: Exception) -> CodecError:
    if isinstance(error, CodecError):
        return CodecError(f"attribute {name!r}", ": ".join(map(str, error.args)))
    return CodecError(f"attribute {name!r}", f"{type(error).__name__}: {error}")
