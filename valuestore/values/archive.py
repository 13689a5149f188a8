"""Archive: decides whether a value's bytes travel inline with its row or go to the payload store.

It turns objects into value refs and back. It knows no SQL: rows are made of refs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from valuestore.errors import MisplacedCall, NotHashableError, PayloadCorrupt, StoreError
from valuestore.hashing import Bytes, Digest, hash_bytes, is_digest, value_tag
from valuestore.stores.content.store import ContentStore, PayloadRef
from valuestore.values.codecs.plain import (
    NEVER_STALE,
    PLAIN_CODECS,
    SIGNED_CODECS,
    decode,
    decode_tagged,
)
from valuestore.values.payload import Encoded, RecentRefs
from valuestore.values.payload import ValueRef as ValueRef
from valuestore.values.registry import TypeRegistry

INLINE_MAX_BYTES = 8192
"""Payloads up to this size live in the database, where SQLite reads them faster than files."""

UNVIEWED_CODECS = PLAIN_CODECS | SIGNED_CODECS
"""Codecs whose objects are made from the bytes, and never show them as their own memory."""


class Archive:
    """A type registry and a payload store together: objects in, refs out, and back."""

    def __init__(
        self, registry: TypeRegistry, payloads: ContentStore, inline_max_bytes: int = INLINE_MAX_BYTES
    ) -> None:
        self.registry = registry
        self.payloads = payloads
        self.inline_max_bytes = inline_max_bytes
        self.stored = RecentRefs()

    def pack(self, obj: object) -> ValueRef:
        """Hash and store. Raises: NotHashableError; StoreError if the payload store refuses."""
        return self.store(self.registry.encode(obj))

    def try_pack(self, obj: object) -> tuple[ValueRef | None, str]:
        """The ref, or why there is none. Raises: MisplacedCall."""
        try:
            return self.pack(obj), ""
        except MisplacedCall:
            raise
        except (NotHashableError, StoreError) as error:
            self.registry.check_no_calls(obj)
            return None, str(error)

    def store(self, encoded: Encoded) -> ValueRef:
        """The ref of an object encoded before, its bytes stored if they are too many to travel inline."""
        known = self.stored.find(encoded)
        if known is not None and self.payloads.holds(PayloadRef(address_of(known), known.size)):
            return self.stored.keep(known, encoded)
        pieces = encoded.pieces()
        size = sum(map(len, pieces))
        digest: Digest | None = None
        signature = encoded.signature(bytes(pieces[0])) if encoded.codec in SIGNED_CODECS else None
        if size <= self.inline_max_bytes:
            inline = b"".join(pieces)
            if not encoded.is_preimage:
                digest = hash_bytes(inline, algorithm=self.registry.algorithm.name)
        else:
            digest = self.payloads.put(pieces[0] if len(pieces) == 1 else pieces).digest
            inline = None
        encoded.check()
        ref = ValueRef(
            encoded.value_hash,
            encoded.type_name,
            encoded.codec,
            digest,
            size,
            inline,
            encoded.preview,
            encoded.external,
            signature,
            tuple([self.store(part) for part in encoded.parts]),
            encoded.classes,
            encoded.code,
        )
        return self.stored.keep(ref, encoded)

    def unpack(self, ref: ValueRef, *, copy: bool = True) -> Any:
        """The object, its bytes verified wherever they were.

        Without ``copy``, arrays and the like are read-only and show the payload file where that is local.
        Raises: PayloadMissing, PayloadCorrupt, DecodeError; StoreUnavailable if the store does not answer.
        """
        if ref.inline is not None or ref.codec in UNVIEWED_CODECS:
            return self.decoded(ref, self.read(ref), copy=copy)
        digest = address_of(ref)
        data = self.payloads.read(digest, ref.size) if copy else self.payloads.map(digest)
        return self.decoded(ref, data if data is not None else self.payloads.get(digest), copy=copy)

    def unpack_verified(self, ref: ValueRef) -> Any:
        """As ``unpack``, of a ref whose inline bytes were verified before, or made here."""
        return self.unpack(ref) if ref.inline is None else self.decoded(ref, ref.inline)

    def decoded(self, ref: ValueRef, data: Bytes, *, copy: bool = True) -> Any:
        """The object of these bytes, which are verified already. Raises: DecodeError."""
        if ref.codec in NEVER_STALE:
            return decode(ref.codec, bytes(data))  # which copies no bytes
        return self.registry.open(
            ref.codec, ref.type_name, data, ref.value_hash, copy=copy, signature=ref.signature
        )

    def copy(self, encoded: Encoded) -> Any:
        """Another object from the bytes that were hashed. Raises: NotHashableError if it changed since."""
        if encoded.tagged is not None:
            return decode_tagged(encoded.tagged, self.registry)  # made here: nobody else's word is taken
        payload = encoded.payload
        encoded.check()
        return self.registry.load(payload, encoded.value_hash)

    def read(self, ref: ValueRef) -> bytes:
        """The verified payload bytes. Raises: as ``unpack``, DecodeError excepted."""
        if ref.inline is not None:
            self.verify(ref)
            return ref.inline
        digest_of = partial(self.registry.digest_of, ref.type_name, ref.codec)
        is_value = (lambda data: digest_of(data) == ref.value_hash) if ref.codec in NEVER_STALE else None
        return self.payloads.get(address_of(ref), is_value)

    def verify(self, ref: ValueRef) -> None:
        """Whether inline bytes are what the row says; hashed once. Raises: PayloadCorrupt if not.

        Where the payload is what the value hash was made from, that vouches for it, whatever digest is there.
        """
        assert ref.inline is not None
        hexdigest = self.registry.algorithm.hexdigest
        if ref.payload_digest is None or ref.codec in NEVER_STALE:
            known, found = ref.value_hash, hexdigest(value_tag(ref.type_name, ref.codec) + ref.inline)
        else:
            known, found = ref.payload_digest, hexdigest(ref.inline)
        if found != known:
            raise PayloadCorrupt(known, "the database", f"it hashes to {found}")

    def missing(self, refs: Iterable[ValueRef]) -> set[Digest]:
        """The payload digests of these refs that the store does not hold; asked in one batch."""
        wanted = {address_of(ref) for ref in refs if ref.inline is None}
        return wanted - self.payloads.has_many(wanted) if wanted else set()


def address_of(ref: ValueRef) -> Digest:
    """Where its bytes are in the payload store; a damaged row may not say it, and then nothing is there."""
    digest = ref.payload_digest
    return digest if digest and is_digest(digest) else ref.value_hash
