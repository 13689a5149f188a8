"""Archive: decides whether a value's bytes travel inline with its row or go to the payload store.

It turns objects into value refs and back. It knows no SQL: rows are made of refs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from valuestore.errors import PayloadCorrupt
from valuestore.hashing import Bytes, Digest, hash_bytes
from valuestore.stores.content import ContentStore
from valuestore.stores.data import Data
from valuestore.values.registry import Encoded, Payload, TypeRegistry

INLINE_MAX_BYTES = 8192
"""Payloads up to this size live in the database, where SQLite reads them faster than files."""


@dataclass(frozen=True, slots=True)
class ValueRef:
    """All that passes between values, stores and database: what a value is and where its bytes are.

    ``size`` counts payload bytes; ``inline`` holds them, or is None when they are in the payload store.
    ``preview`` is short JSON text for people. ``external`` is the path, URL or name of the outside state
    that the value stands for. ``parts`` are the Values inside it; a ref read from the database has none.
    """

    value_hash: Digest
    type_name: str
    codec: str
    payload_digest: Digest
    size: int
    inline: bytes | None
    preview: str
    external: str | None = None
    parts: tuple[ValueRef, ...] = ()


class Archive:
    """A type registry and a payload store together: objects in, refs out, and back."""

    def __init__(
        self, registry: TypeRegistry, payloads: ContentStore, inline_max_bytes: int = INLINE_MAX_BYTES
    ) -> None:
        self.registry = registry
        self.payloads = payloads
        self.inline_max_bytes = inline_max_bytes

    def pack(self, obj: object) -> ValueRef:
        """Hash and store. Raises: NotHashableError; StoreError if the payload store refuses."""
        return self.store(self.registry.encode(obj))

    def store(self, encoded: Encoded) -> ValueRef:
        """The ref of an object encoded before, its bytes stored if they are too many to travel inline."""
        pieces = encoded.pieces()
        size = sum(map(len, pieces))
        if size <= self.inline_max_bytes:
            inline = b"".join(pieces)
            digest = hash_bytes(inline, algorithm=self.registry.algorithm.name)
        else:
            digest = self.payloads.put(_data(pieces)).digest
            inline = None
        encoded.check()
        return ValueRef(
            encoded.value_hash,
            encoded.type_name,
            encoded.codec,
            digest,
            size,
            inline,
            encoded.preview,
            encoded.external,
            tuple([self.store(part) for part in encoded.parts]),
        )

    def unpack(self, ref: ValueRef) -> Any:
        """The object, its bytes verified wherever they were.

        Raises: PayloadMissing, PayloadCorrupt, DecodeError; StoreUnavailable if the store does not answer.
        """
        return self.registry.load(Payload(ref.type_name, ref.codec, self.read(ref)), ref.value_hash)

    def copy(self, encoded: Encoded) -> Any:
        """Another object from the bytes that were hashed. Raises: NotHashableError if it changed since."""
        payload = encoded.payload
        encoded.check()
        return self.registry.load(payload, encoded.value_hash)

    def read(self, ref: ValueRef) -> bytes:
        """The verified payload bytes. Raises: as ``unpack``, DecodeError excepted."""
        if ref.inline is None:
            return self.payloads.get(ref.payload_digest)
        found = hash_bytes(ref.inline, algorithm=self.registry.algorithm.name)
        if found != ref.payload_digest:
            raise PayloadCorrupt(ref.payload_digest, "the database", f"it hashes to {found}")
        return ref.inline

    def missing(self, refs: Iterable[ValueRef]) -> set[Digest]:
        """The payload digests of these refs that the store does not hold; asked in one batch."""
        wanted = {ref.payload_digest for ref in refs if ref.inline is None}
        return wanted - self.payloads.has_many(wanted) if wanted else set()


def _data(pieces: tuple[Bytes, ...]) -> Data:
    """What the payload store is given: bytes as they are, or the pieces one after the other."""
    return pieces[0] if len(pieces) == 1 else pieces
