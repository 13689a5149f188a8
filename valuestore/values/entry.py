"""EntryRef: a name of the catalog and what it stood for, as an argument of tasks: ``catalog.ref(name)``.

It is the name with the digest of its content, so a name that has moved is another argument, and a cached
result that holds one is used only while the name stands for the same. A body reads by the digest: what it
sees is what was hashed, whatever becomes of the name meanwhile. It asks no catalog itself: the run does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, NoReturn, Self, cast

from valuestore.errors import NotSupported
from valuestore.hashing import Digest
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.handles.journal import journal
from valuestore.values.trust.gate import Signature
from valuestore.values.value import Plain, Value, hooks_in_use

SCHEME = "catalog:"
"""How names of the catalog are written among others."""


class EntryRef(Value):
    """What a name stood for when it was made. ``size`` is of the stored bytes, in bytes."""

    type_name = "valuestore.EntryRef"

    def __init__(
        self,
        name: str,
        digest: Digest,
        size: int,
        ref: ValueRef | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.name = name
        self.digest = digest
        self.size = size
        self._ref = ref
        self._archive = archive
        hooks_in_use.add("opened in")

    @property
    def value_hash(self) -> Digest | None:
        """The value that the name was bound to; None for bare bytes."""
        return None if self._ref is None else self._ref.value_hash

    def get(self) -> bytes:
        """The bytes, verified; of a bound name the stored payload. Raises: PayloadMissing, PayloadCorrupt."""
        archive = self._opened()
        return archive.payloads.get(self.digest) if self._ref is None else archive.read(self._ref)

    def open(self) -> BinaryIO:
        """A stream of the bytes, verified at its end. Raises: as ``get``."""
        if self._ref is None:
            return self._opened().payloads.open(self.digest)
        from io import BytesIO

        return cast(BinaryIO, BytesIO(self.get()))

    def load(self) -> object:
        """The value; of bare bytes, these. Raises: as ``get``; DecodeError; UntrustedPayload."""
        return self.get() if self._ref is None else self._opened().unpack(self._ref)

    def _opened(self) -> Archive:
        if self._archive is None:
            raise NotSupported(repr(self), "being read here", "pass it to a task, or ask repository.catalog")
        return self._archive

    def identity(self) -> Plain:
        """Name and content, and which value that is, if it is one."""
        return {"name": self.name, "digest": self.digest, "value": self.value_hash}

    def state(self) -> Plain:
        """The same, with what it takes to read it."""
        told = self._ref
        value: Plain = None
        if told is not None:
            signature = None if told.signature is None else list(told.signature)
            value = [told.value_hash, told.type_name, told.codec, told.payload_digest, told.size]
            value += [told.inline, signature]
        return {"name": self.name, "digest": self.digest, "size": self.size, "value": value}

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """As it was; the run that it is in says whether it still is."""
        ref = None
        if state["value"] is not None:
            value_hash, type_name, codec, digest, size, inline, signature = state["value"]
            vouched = None if signature is None else Signature(*signature)
            ref = ValueRef(value_hash, type_name, codec, digest, size, inline, "", None, vouched)
        return cls(state["name"], state["digest"], state["size"], ref)

    def is_valid(self) -> bool:
        """Whether the name stands for the same in the catalog of the run that goes on here."""
        return journal().holds(self)

    def external(self) -> str | None:
        return f"{SCHEME}{self.name}"

    @classmethod
    def parse_arg(cls, text: str) -> NoReturn:
        """Raises: ValueError: which catalog is meant, a command line does not say."""
        raise ValueError(f"{text!r}: pass a name as text, and have a task call catalog.ref")

    def __repr__(self) -> str:
        return f"EntryRef({self.name!r}, {self.digest!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntryRef):
            return NotImplemented
        return bool(self.identity() == other.identity())

    def __hash__(self) -> int:
        return hash((self.name, self.digest, self.value_hash))


def opened_in(archive: Archive, values: Iterable[Value]) -> list[Value]:
    """The values, of which refs read there from now on: they are given to a body, or by a run."""
    found = [*values]
    for one in found:
        if isinstance(one, EntryRef):
            one._archive = archive
    return found
