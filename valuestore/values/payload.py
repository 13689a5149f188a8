"""A value on its way: Payload, stored bytes and what reads them; Encoded, an object hashed, whose payload is
made when it is wanted; ValueRef, what is known of it once its bytes are somewhere.

The first two are made by the registry; the archive decides where the bytes go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from valuestore.hashing import Bytes, Digest
from valuestore.html import Shown
from valuestore.values.codecs.plain import BYTES, MAY_GO_STALE, SIGNED, TAGGED, TEXT
from valuestore.values.preview import preview, preview_bytes, preview_text
from valuestore.values.value import Plain

if TYPE_CHECKING:
    from valuestore.values.trust.gate import Signature


@dataclass(frozen=True, slots=True)
class Payload:
    """Stored bytes and what they are: the codec that reads them, the type they become, who signed them."""

    type_name: str
    codec: str
    data: bytes
    signature: Signature | None = None


@dataclass(slots=True, eq=False, repr=False)
class Encoded:
    """An object hashed once: its identity, and its payload, made when it is asked for.

    ``parts`` are the Values inside it, ``external`` the outside state that it stands for, if it does.
    ``is_preimage``: the payload is the very bytes that the value hash was made from. ``signed_by`` signs
    them; ``checked_by`` raises if the object is no longer what was hashed.
    ``classes`` are the user's own of the objects in it, whose code it brings to whoever is given it;
    ``code`` is what in it is code by itself (a function, a class, a task), or the name of a type whose
    objects say themselves whether they are valid.
    """

    value_hash: Digest
    type_name: str
    codec: str
    content: bytes | Callable[[], tuple[Bytes, ...]]
    lowered: Plain
    parts: tuple[Encoded, ...] = ()
    external: str | None = None
    checked_by: Callable[[], None] | None = None
    is_preimage: bool = False
    signed_by: Callable[[bytes], Signature] | None = None
    classes: frozenset[type] = frozenset()
    code: tuple[object, ...] = ()

    @property
    def payload(self) -> Payload:
        pieces = self.pieces()
        data = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
        return Payload(self.type_name, self.codec, data, self.signature(data))

    def pieces(self) -> tuple[Bytes, ...]:
        """The payload's bytes; large ones are views of the object's own memory and change with it."""
        return (self.content,) if isinstance(self.content, bytes) else self.content()

    def signature(self, data: bytes) -> Signature | None:
        """Of the payload's bytes, if they need one. Raises: KeyUnusable."""
        return None if self.signed_by is None else self.signed_by(data)

    @property
    def tagged(self) -> bytes | None:
        """The tagged data; None of other codecs."""
        return self.content if self.codec in (TAGGED, SIGNED) and isinstance(self.content, bytes) else None

    def check(self) -> None:
        """Call it once the payload's bytes are copied. Raises: NotHashableError if the object changed."""
        if self.checked_by is not None:
            self.checked_by()

    @property
    def preview(self) -> str:
        if self.codec == TEXT:
            return preview_text(self.lowered)
        if self.codec == BYTES:
            return preview_bytes(self.lowered)
        return preview(self.lowered, len(self.content) if isinstance(self.content, bytes) else 0)


@dataclass(frozen=True, slots=True)
class ValueRef(Shown):
    """All that passes between values, stores and database: what a value is and where its bytes are.

    ``size`` counts payload bytes; ``inline`` holds them, or is None when they are in the payload store.
    Without a ``payload_digest`` they are inline, and the very bytes that the value hash was made from.
    ``preview`` is short JSON text for people. ``external`` is the path, URL or name of the outside state
    that the value stands for. ``signature`` vouches for the bytes, where they need it. ``parts`` are the
    Values inside it, ``classes`` and ``code`` as of ``Encoded``; a ref read from the database has none.
    """

    value_hash: Digest
    type_name: str
    codec: str
    payload_digest: Digest | None
    size: int
    inline: bytes | None = field(repr=False)
    preview: str
    external: str | None = None
    signature: Signature | None = field(default=None, repr=False)
    parts: tuple[ValueRef, ...] = field(default=(), repr=False)
    classes: frozenset[type] = field(default=frozenset(), repr=False, compare=False)
    code: tuple[object, ...] = field(default=(), repr=False, compare=False)


_RECENT_REFS = 1024


class RecentRefs:
    """What was put into the payload store lately, so that the same value is not put together again.

    Refs of values whose payload follows from their identity: a container's may hold state beside it, a
    pickle's depends on the key. ``pending`` hears of all of them, where rows are written here.
    """

    def __init__(self, pending: Pending | None = None) -> None:
        self.pending = pending
        self._refs: dict[Digest, ValueRef] = {}
        self._lock = Lock()

    def find(self, encoded: Encoded) -> ValueRef | None:
        """The ref of that value, if it was kept lately."""
        ref = self._refs.get(encoded.value_hash)
        return ref if ref is not None and ref.codec == encoded.codec else None

    def keep(self, ref: ValueRef, encoded: Encoded) -> ValueRef:
        """Remember the ref, if such a one may be; the oldest of too many is forgotten."""
        if ref.inline is not None:
            return ref
        if self.pending is not None:
            self.pending.keep(ref.payload_digest or ref.value_hash, encoded, ref.size)
        if ref.codec not in MAY_GO_STALE:
            with self._lock:
                self._refs[ref.value_hash] = ref
                if len(self._refs) > _RECENT_REFS:
                    del self._refs[next(iter(self._refs))]
        return ref


_PENDING_BYTES = 64 << 20
_PENDING_SECONDS = 60.0


class Pending:
    """Objects whose payloads were put lately and whose rows may not be written: to be put again if need be.

    A collection deletes payloads that no row names. Kept are 64 MiB, or the newest that is larger, until the
    rows are written, and at most a minute.
    """

    def __init__(self, put: Callable[[tuple[Bytes, ...]], str]) -> None:
        self._put = put
        self._kept: dict[str, tuple[Encoded, int, float]] = {}
        self._bytes = 0
        self._lock = Lock()

    def keep(self, digest: str, encoded: Encoded, size: int) -> None:
        """Keep it; the oldest of too many are let go."""
        with self._lock:
            self._drop(digest)
            self._kept[digest] = encoded, size, monotonic()
            self._bytes += size
            while self._bytes > _PENDING_BYTES and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    @property
    def is_full(self) -> bool:
        return self._bytes > _PENDING_BYTES / 2

    def put_again(self, digest: str) -> bool:
        """Store the payload once more, if it is kept and is what it was."""
        known = self._kept.get(digest)
        return known is not None and self._put(known[0].pieces()) == digest

    def forget(self, digests: Iterable[str]) -> None:
        """Their rows are written; what is old will have none."""
        with self._lock:
            for digest in digests:
                self._drop(digest)
            while self._kept and monotonic() - next(iter(self._kept.values()))[2] > _PENDING_SECONDS:
                self._drop(next(iter(self._kept)))

    def _drop(self, digest: str) -> None:
        known = self._kept.pop(digest, None)
        self._bytes -= 0 if known is None else known[1]
