"""Rows of values: a ref as the rows that record it, and a row of ``value`` as a ref again.

Most small payloads are the very bytes that the value hash was made from. Their rows have no payload
digest: the hash itself vouches for them, and it is checked when they are read.
"""

from __future__ import annotations

from typing import Any

from valuestore.db.record.rows import clean_text
from valuestore.values.archive import ValueRef

FILE_KINDS = {"valuestore.File": "File", "valuestore.FileSet": "FileSet", "valuestore.Dir": "Dir"}
"""Type names of values that stand for files, with their kind in the table ``file``."""

LONGEST_PATH = 2000
"""Characters of a path that are kept: Postgres indexes no more than 2,704 bytes, and no system has longer."""


def value_row(ref: ValueRef) -> tuple[Any, ...]:
    """The row of ``value``."""
    preview = clean_text(ref.preview)
    type_name = clean_text(ref.type_name)
    return ref.value_hash, type_name, ref.codec, ref.payload_digest, ref.size, ref.inline, preview


def ref_of(row: Any) -> ValueRef:
    """The ref behind the columns of a row of ``value``, in their order. Nothing of it is verified here."""
    return ValueRef(*row)


def file_row(ref: ValueRef) -> tuple[str, str, str] | None:
    """The row of ``file``, for a value that stands for one."""
    kind = FILE_KINDS.get(ref.type_name)
    if kind is None or ref.external is None:
        return None
    return ref.value_hash, clean_text(ref.external)[:LONGEST_PATH], kind
