"""Rows of values: a ref as the rows that record it, and a row of ``value`` as a ref again.

Most small payloads are the very bytes that the value hash was made from. Their rows have no payload
digest: the hash itself vouches for them, and it is checked when they are read.
"""

from __future__ import annotations

from typing import Any

from valuestore.db.record.rows import clean_text
from valuestore.hashing import ALGORITHMS, hash_bytes, value_tag
from valuestore.values.archive import ValueRef

FILE_KINDS = {"valuestore.File": "File", "valuestore.FileSet": "FileSet", "valuestore.Dir": "Dir"}
"""Type names of values that stand for files, with their kind in the table ``file``."""

LONGEST_PATH = 2000
"""Characters of a path that are kept: Postgres indexes no more than 2,704 bytes, and no system has longer."""

_ALGORITHM_BY_LENGTH = {algorithm.hex_length: algorithm.name for algorithm in ALGORITHMS.values()}


def value_row(ref: ValueRef) -> tuple[Any, ...]:
    """The row of ``value``."""
    digest = None if ref.inline is not None and _vouches(ref) else ref.payload_digest
    preview = clean_text(ref.preview)
    return ref.value_hash, clean_text(ref.type_name), ref.codec, digest, ref.size, ref.inline, preview


def ref_of(row: Any) -> ValueRef:
    """The ref behind the columns of a row of ``value``, in their order.

    Bytes that nothing vouches for get the value hash as their digest, which they do not hash to: reading
    them says that they are damaged.
    """
    value_hash, type_name, codec, payload_digest, size, inline, preview = row
    ref = ValueRef(value_hash, type_name, codec, payload_digest or value_hash, size, inline, preview)
    if payload_digest is None and inline is not None and _vouches(ref):
        digest = hash_bytes(inline, algorithm=_algorithm(value_hash))
        return ValueRef(value_hash, type_name, codec, digest, size, inline, preview)
    return ref


def file_row(ref: ValueRef) -> tuple[str, str, str] | None:
    """The row of ``file``, for a value that stands for one."""
    kind = FILE_KINDS.get(ref.type_name)
    if kind is None or ref.external is None:
        return None
    return ref.value_hash, clean_text(ref.external)[:LONGEST_PATH], kind


def _vouches(ref: ValueRef) -> bool:
    """Whether the inline bytes, with type and codec, hash to the value hash (values/registry.py)."""
    assert ref.inline is not None
    algorithm = ALGORITHMS[_algorithm(ref.value_hash)]
    return algorithm.hexdigest(value_tag(ref.type_name, ref.codec) + ref.inline) == ref.value_hash


def _algorithm(value_hash: str) -> str:
    return _ALGORITHM_BY_LENGTH[len(value_hash)]
