"""Adopt: sign the values of a repository that load with a signature alone, and have none.

They were stored before such values were signed, say. ``valuestore keys adopt`` shows of which types they
are, and signs them if it is told to. Data classes that this process has imported need no signature, and are
left alone. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from valuestore.db.history.things import find_by_codec
from valuestore.errors import DecodeError, PayloadError, StoreError
from valuestore.hashing import hash_bytes
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import SIGNED, TAGGED, decode_lowered
from valuestore.values.codecs.signed import sign
from valuestore.values.identity.canonical import NODE
from valuestore.values.trust.gate import needs_key
from valuestore.values.trust.kinds import LIBRARIES, STANDARD

if TYPE_CHECKING:
    from valuestore.repository import Repository


@dataclass(frozen=True)
class Unsigned:
    """A value without a signature, its tagged data, and the names of the classes and rules in it."""

    ref: ValueRef
    data: bytes
    class_names: frozenset[str]


def find_unsigned(repository: Repository) -> Iterator[Unsigned]:
    """Those that need one, as far as is known here: a class that is not imported may be a data class."""
    registry = repository.archive.registry
    for page in find_by_codec(repository.database, TAGGED):
        for ref in repository.lookup.values(page).values():
            try:
                data = repository.archive.read(ref)
                form = decode_lowered(TAGGED, data)
            except (PayloadError, StoreError):  # damaged or gone: a rerun sees to it
                continue
            names = find_class_names(form)
            try:
                is_open = needs_key(form, registry, len(data)) is None
            except DecodeError:  # of a class that is not there
                is_open = False
            if names and not is_open:
                yield Unsigned(ref, data, names)


def sign_value(repository: Repository, found: Unsigned) -> None:
    """Record that this user vouches for it. Raises: KeyUnusable, StoreError, DatabaseError."""
    ref = found.ref
    signature = sign(found.data, ref.type_name, ref.value_hash, SIGNED, repository.archive.registry.signer)
    digest = ref.payload_digest or hash_bytes(found.data, algorithm=repository.algorithm)
    signed = replace(ref, codec=SIGNED, payload_digest=digest, signature=signature)
    repository.recorder.record_values((signed,))


def find_class_names(form: object) -> frozenset[str]:
    """The types in a canonical form that are not inert by name: classes, and what is known by its name."""
    names: set[str] = set()
    stack = [form]
    while stack:
        current = stack.pop()
        if type(current) is dict:
            stack.extend(current.values())
        elif type(current) in (list, tuple):
            if current[:1] == (NODE,) and len(current) in (3, 4):  # type: ignore[index, arg-type]
                names.add(str(current[1]))  # type: ignore[index]
            stack.extend(current)  # type: ignore[arg-type]
    return frozenset(names - STANDARD.keys() - LIBRARIES.keys() - {"builtins.tuple", "builtins.dict"})
