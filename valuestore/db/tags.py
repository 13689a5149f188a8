"""Tags: key/value labels on executions, jobs, calls, tasks and values; values are JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from valuestore.db.jobs import clean_text, new_id, now
from valuestore.hashing import hash_bytes

ENTITIES = ("execution", "job", "call", "task", "value")


class TagRow(NamedTuple):
    """A row of ``tag``."""

    tag_id: str
    entity: str
    entity_id: str
    key: str
    value: str
    value_digest: str
    author: str | None
    created: int
    ended: int | None
    ended_by: str | None


def tag_rows(entity: str, entity_id: str, tags: Mapping[str, Any]) -> list[TagRow]:
    """The rows that label one record. Raises: TypeError or ValueError for a value that is not JSON."""
    return [tag_row(entity, entity_id, key, value) for key, value in tags.items()]


def tag_row(entity: str, entity_id: str, key: str, value: Any, author: str | None = None) -> TagRow:
    """The row of one current tag. Raises: TypeError or ValueError for a value that is not JSON."""
    text = json.dumps(value, allow_nan=False)
    digest = hash_bytes(text.encode())
    return TagRow(new_id(), entity, entity_id, clean_text(key), text, digest, author, now(), None, None)


def parse_tag(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``: JSON if it is JSON (NaN is not), else the text. Raises: ValueError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value, parse_constant=_refuse)
    except ValueError:
        return key, value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
