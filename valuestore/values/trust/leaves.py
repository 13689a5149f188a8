"""Leaves: what is signed in a payload, or should be, found without loading anything. For people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from valuestore.errors import DecodeError
from valuestore.values.codecs.pickled import PICKLED, signature_of
from valuestore.values.codecs.plain import SIGNED, TAGGED
from valuestore.values.identity.canonical import NODE
from valuestore.values.trust.gate import Envelope, decode_plain
from valuestore.values.trust.kinds import LIBRARIES, STANDARD

_PICKLED_NAME = PICKLED.name.encode()


@dataclass(frozen=True)
class Leaf:
    """A signed part and what its payload says about it, all unverified."""

    type_name: str
    value_hash: str
    envelope: Envelope


def find_leaves(codec: str, type_name: str, data: bytes) -> Iterator[Leaf]:
    """The signed parts of a payload, the whole if it is signed. Raises: DecodeError."""
    if codec in (PICKLED.name, SIGNED):
        yield _leaf(type_name, data)
    elif codec == TAGGED and _PICKLED_NAME in data:
        stack = [decode_plain(data)]
        while stack:
            current = stack.pop()
            if type(current) is dict:
                stack.extend(current.keys())
                stack.extend(current.values())
            elif type(current) is list or (type(current) is tuple and not _is_leaf(current)):
                stack.extend(current)
            elif type(current) is tuple:
                yield _leaf(current[1], current[3])


def _is_leaf(node: tuple[object, ...]) -> bool:
    return len(node) == 4 and node[0] == NODE and node[2] == PICKLED.name


def _leaf(type_name: object, data: object) -> Leaf:
    if not isinstance(type_name, str) or not isinstance(data, bytes):
        raise DecodeError(PICKLED.name, "it is no signed pickle")
    value_hash, envelope = signature_of(data)
    return Leaf(type_name, value_hash, envelope)


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
