"""Adopt: sign the values of a repository that load with a signature alone, and have none.

They were stored before such values were signed, say. ``valuestore keys adopt`` shows of which types they
are, and signs them if it is told to. Data classes that this process has imported need no signature, and are
left alone. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from valuestore.db.history.things import find_by_codec
from valuestore.errors import DecodeError, PayloadError, StoreError
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import SIGNED, TAGGED, decode_lowered
from valuestore.values.codecs.signed import seal
from valuestore.values.payload import Encoded
from valuestore.values.trust.gate import needs_key
from valuestore.values.trust.leaves import find_class_names

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
    """Store it anew, signed by this user. Raises: KeyUnusable, StoreError, DatabaseError."""
    ref = found.ref
    sign = partial(
        seal,
        type_name=ref.type_name,
        value_hash=ref.value_hash,
        signer=repository.archive.registry.signer,
    )
    encoded = Encoded(
        ref.value_hash, ref.type_name, SIGNED, found.data, None, external=ref.external, seal=sign
    )
    signed = replace(repository.archive.store(encoded), preview=ref.preview)
    repository.recorder.forget(ref.value_hash)
    repository.recorder.record_values((signed,))
