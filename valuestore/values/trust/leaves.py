"""Leaves: the signed pickles in a payload, found without loading any of them. For ``doctor`` and previews."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from valuestore.errors import DecodeError
from valuestore.values.codecs.pickled import PICKLED, signature_of
from valuestore.values.codecs.plain import TAGGED
from valuestore.values.identity.canonical import NODE
from valuestore.values.trust.gate import Envelope, decode_plain

_PICKLED_NAME = PICKLED.name.encode()


@dataclass(frozen=True)
class Leaf:
    """A pickle and what its payload says about it, all unverified."""

    type_name: str
    value_hash: str
    envelope: Envelope


def find_leaves(codec: str, type_name: str, data: bytes) -> Iterator[Leaf]:
    """The pickles in a payload, the top one if that is all it is. Raises: DecodeError."""
    if codec == PICKLED.name:
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
