"""Payload: stored bytes and what reads them. Encoded: an object hashed, whose payload is made when wanted.

Made by the registry; the archive decides where the bytes go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from valuestore.hashing import Bytes, Digest
from valuestore.values.codecs.plain import BYTES, SIGNED, TAGGED, TEXT
from valuestore.values.preview import preview, preview_bytes, preview_text
from valuestore.values.value import Plain


@dataclass(frozen=True, slots=True)
class Payload:
    """Stored bytes and what they are: the codec that reads them and the type they become."""

    type_name: str
    codec: str
    data: bytes


class Encoded:
    """An object hashed once: its identity, and its payload, made when it is asked for.

    ``parts`` are the Values inside it, ``external`` the outside state that it stands for, if it does.
    ``is_preimage``: the payload is the very bytes that the value hash was made from. ``seal`` signs them.
    ``classes`` are the user's own of the objects in it, whose code it brings to whoever is given it.
    """

    __slots__ = (
        "_check",
        "_payload",
        "_seal",
        "classes",
        "codec",
        "external",
        "is_preimage",
        "lowered",
        "parts",
        "type_name",
        "value_hash",
    )

    def __init__(
        self,
        value_hash: Digest,
        type_name: str,
        codec: str,
        payload: bytes | Callable[[], tuple[Bytes, ...]],
        lowered: Plain,
        parts: tuple[Encoded, ...] = (),
        external: str | None = None,
        check: Callable[[], None] | None = None,
        *,
        is_preimage: bool = False,
        seal: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.value_hash = value_hash
        self.type_name = type_name
        self.codec = codec
        self.lowered = lowered
        self.parts = parts
        self.external = external
        self.is_preimage = is_preimage
        self._payload = payload
        self._check = check
        self._seal = seal
        self.classes: frozenset[type] = frozenset()

    @property
    def payload(self) -> Payload:
        """The payload, its bytes in one piece."""
        pieces = self.pieces()
        data = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
        return Payload(self.type_name, self.codec, data)

    def pieces(self) -> tuple[Bytes, ...]:
        """The payload's bytes; large ones are views of the object's own memory and change with it."""
        if not isinstance(self._payload, bytes):
            return self._payload()
        return (self._payload if self._seal is None else self._seal(self._payload),)

    @property
    def tagged(self) -> bytes | None:
        """The tagged data, before it is signed if it is to be; None of other codecs."""
        return self._payload if self.codec in (TAGGED, SIGNED) and isinstance(self._payload, bytes) else None

    def check(self) -> None:
        """Call it once the payload's bytes are copied. Raises: NotHashableError if the object changed."""
        if self._check is not None:
            self._check()

    @property
    def preview(self) -> str:
        """Short JSON text of the value."""
        if self.codec == TEXT:
            return preview_text(self.lowered)
        if self.codec == BYTES:
            return preview_bytes(self.lowered)
        return preview(self.lowered, len(self._payload) if isinstance(self._payload, bytes) else 0)
