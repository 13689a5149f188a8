"""Archive: decides whether a value's bytes travel inline with its row or go to the payload store.

It turns objects into value refs and back. It knows no SQL: rows are made of refs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from valuestore.errors import MisplacedCall, NotHashableError, PayloadCorrupt, StoreError
from valuestore.hashing import Bytes, Digest, hash_bytes, hash_pieces, value_tag
from valuestore.stores.content.store import ContentStore, PayloadRef
from valuestore.stores.data import Data
from valuestore.values.codecs.pickled import PICKLED
from valuestore.values.codecs.plain import (
    MAY_GO_STALE,
    NEVER_STALE,
    PLAIN_CODECS,
    SIGNED,
    decode,
    decode_tagged,
)
from valuestore.values.payload import Encoded
from valuestore.values.registry import TypeRegistry

INLINE_MAX_BYTES = 8192
"""Payloads up to this size live in the database, where SQLite reads them faster than files."""

UNVIEWED_CODECS = PLAIN_CODECS | {SIGNED, PICKLED.name}
"""Codecs whose objects are made from the bytes, and never show them as their own memory."""

_RECENT_REFS = 1024


@dataclass(frozen=True, slots=True)
class ValueRef:
    """All that passes between values, stores and database: what a value is and where its bytes are.

    ``size`` counts payload bytes; ``inline`` holds them, or is None when they are in the payload store.
    Without a ``payload_digest`` they are inline, and the very bytes that the value hash was made from.
    ``preview`` is short JSON text for people. ``external`` is the path, URL or name of the outside state
    that the value stands for. ``parts`` are the Values inside it, ``classes`` the user's own of the objects
    in it; a ref read from the database has none.
    """

    value_hash: Digest
    type_name: str
    codec: str
    payload_digest: Digest | None
    size: int
    inline: bytes | None
    preview: str
    external: str | None = None
    parts: tuple[ValueRef, ...] = ()
    classes: frozenset[type] = field(default=frozenset(), repr=False, compare=False)


class Archive:
    """A type registry and a payload store together: objects in, refs out, and back."""

    def __init__(
        self, registry: TypeRegistry, payloads: ContentStore, inline_max_bytes: int = INLINE_MAX_BYTES
    ) -> None:
        self.registry = registry
        self.payloads = payloads
        self.inline_max_bytes = inline_max_bytes
        self._stored = RecentRefs()

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
        known = self._stored.find(encoded)
        if known is not None and self.payloads.holds(PayloadRef(_digest_of(known), known.size)):
            return known
        pieces = encoded.pieces()
        size = sum(map(len, pieces))
        digest: Digest | None = None
        if size <= self.inline_max_bytes:
            inline = b"".join(pieces)
            if not encoded.is_preimage:
                digest = hash_bytes(inline, algorithm=self.registry.algorithm.name)
        else:
            digest = self.payloads.put(_data(pieces)).digest
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
            tuple([self.store(part) for part in encoded.parts]),
            encoded.classes,
        )
        self._stored.keep(ref)
        return ref

    def unpack(self, ref: ValueRef, *, copy: bool = True) -> Any:
        """The object, its bytes verified wherever they were.

        Without ``copy``, arrays and the like are read-only and show the payload file where that is local.
        Raises: PayloadMissing, PayloadCorrupt, DecodeError; StoreUnavailable if the store does not answer.
        """
        if ref.inline is not None or ref.codec in UNVIEWED_CODECS:
            return self._decoded(ref, self.read(ref), copy=copy)
        digest = _digest_of(ref)
        data = self.payloads.read(digest, ref.size) if copy else self.payloads.map(digest)
        return self._decoded(ref, data, copy=copy)

    def unpack_verified(self, ref: ValueRef) -> Any:
        """As ``unpack``, of a ref whose inline bytes were verified before, or made here."""
        return self.unpack(ref) if ref.inline is None else self._decoded(ref, ref.inline)

    def _decoded(self, ref: ValueRef, data: Bytes, *, copy: bool = True) -> Any:
        if ref.codec in NEVER_STALE:
            return decode(ref.codec, bytes(data))  # which copies no bytes
        return self.registry.open(ref.codec, ref.type_name, data, ref.value_hash, copy=copy)

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
        vouches = ref.codec in NEVER_STALE
        return self.payloads.get(_digest_of(ref), partial(self._is_value, ref) if vouches else None)

    def _is_value(self, ref: ValueRef, data: bytes) -> bool:
        pieces = value_tag(ref.type_name, ref.codec), data
        return hash_pieces(pieces, algorithm=self.registry.algorithm.name)[0] == ref.value_hash

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
        wanted = {_digest_of(ref) for ref in refs if ref.inline is None}
        return wanted - self.payloads.has_many(wanted) if wanted else set()


class RecentRefs:
    """What was put into the payload store lately, so that the same value is not put together again.

    Refs of values whose payload follows from their identity: a container's may hold state beside it, a
    pickle's depends on the key.
    """

    def __init__(self) -> None:
        self._refs: dict[Digest, ValueRef] = {}
        self._lock = Lock()

    def find(self, encoded: Encoded) -> ValueRef | None:
        """The ref of that value, if it was kept lately."""
        ref = self._refs.get(encoded.value_hash)
        return ref if ref is not None and ref.codec == encoded.codec else None

    def keep(self, ref: ValueRef) -> None:
        """Remember the ref, if such a one may be; the oldest of too many is forgotten."""
        if ref.inline is not None or ref.codec in MAY_GO_STALE:
            return
        with self._lock:
            self._refs[ref.value_hash] = ref
            if len(self._refs) > _RECENT_REFS:
                del self._refs[next(iter(self._refs))]


def _digest_of(ref: ValueRef) -> Digest:
    """Where its bytes are in the payload store; a damaged row may not say it, and then nothing is there."""
    return ref.payload_digest or ref.value_hash


def _data(pieces: tuple[Bytes, ...]) -> Data:
    """What the payload store is given: bytes as they are, or the pieces one after the other."""
    return pieces[0] if len(pieces) == 1 else pieces
