"""Externals: which values a call was given or gave that stand for outside state and can go stale.

They are named by their hashes. A value that was just encoded knows the values inside it; of one that came
out of the database, they are looked for in the object.
"""

from __future__ import annotations

from valuestore.hashing import Digest
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import MAY_GO_STALE
from valuestore.values.payload import Encoded
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Value, value_types

Externals = tuple[Digest, ...]


def externals_in(root: Encoded | ValueRef) -> Externals:
    """The externals of a value that was just encoded, itself included; each once."""
    if root.codec not in MAY_GO_STALE:
        return ()
    found: dict[Digest, None] = {}
    stack: list[Encoded | ValueRef] = [root]
    while stack:
        current = stack.pop()
        if current.external is not None or _checks_itself(value_types.get(current.type_name)):
            found[current.value_hash] = None
        stack.extend(current.parts)
    return tuple(found)


def externals_of(value: object, registry: TypeRegistry) -> Externals:
    """The externals in a value that was loaded; each once. Raises: NotHashableError."""
    found: dict[Digest, None] = {}
    for one in registry.iter_values(value):
        if one.external() is not None or _checks_itself(type(one)):
            found[registry.hash(one)] = None
    return tuple(found)


def _checks_itself(cls: type | None) -> bool:
    return cls is not None and issubclass(cls, Value) and cls.is_valid is not Value.is_valid
