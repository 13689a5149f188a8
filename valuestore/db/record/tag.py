"""Tag: the row of one, made of a key and a value, and its text: ``key=value``. Values are JSON."""

from __future__ import annotations

import getpass
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from valuestore.db.ids import new_id, now
from valuestore.db.record.rows import TagRow, clean_text
from valuestore.errors import TagError
from valuestore.hashing import hash_bytes
from valuestore.redaction import HIDDEN, names_secret, redact

KEY_MAX_CHARS = 255
VALUE_MAX_CHARS = 65_536


class AnyValue:
    """The type of ``ANY_VALUE``."""

    def __repr__(self) -> str:
        return "ANY_VALUE"


ANY_VALUE: Final = AnyValue()
"""The value of a bare ``key`` in queries and removals."""

Given = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Tags by key, or as pairs where a key has several values."""


def tag_rows(entity: str, entity_id: str, tags: Given, author: str | None = None) -> list[TagRow]:
    """The rows that label one record. Raises: TagError, for a value that is no JSON and beyond the limits."""
    return [
        TagRow(new_id(), entity, entity_id, tag_key(key), *tag_value(key, value), author, now(), None, None)
        for key, value in tag_pairs(tags)
    ]


def tag_key(key: object) -> str:
    """The key as it is kept. Raises: TagError if it is empty, too long, no text, or has a ``=``."""
    if not isinstance(key, str) or not key or "=" in key:
        raise TagError(key, "a key is text without '=', and not empty")
    if len(key) > KEY_MAX_CHARS:
        raise TagError(key, f"the key has {len(key)} characters; {KEY_MAX_CHARS} is the most")
    return clean_text(key)


def tag_value(key: object, value: Any) -> tuple[str, str]:
    """JSON and its digest, which is how a value is searched for; secrets are hidden. Raises: TagError."""
    try:
        json_text = json.dumps(value, allow_nan=False, sort_keys=True)
        if len(json_text) <= VALUE_MAX_CHARS:
            json_text = json.dumps(_without_secrets(key, value), sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise TagError(key, f"its value is not JSON ({str(error) or type(error).__name__})") from error
    if len(json_text) > VALUE_MAX_CHARS:
        raise TagError(
            key,
            f"its value has {len(json_text)} characters of JSON; {VALUE_MAX_CHARS} is the most. "
            "Keep the data as a value, and tag that",
        )
    return json_text, hash_bytes(json_text.encode())


def parse_tag(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``. Raises: TagError if there is no key, or no value.

    A value is JSON if it is JSON (NaN and infinity are not), None if it is empty, else the text.
    """
    key, value = parse_tag_filter(text)
    if value is ANY_VALUE:
        raise TagError(text, "it is not key=value")
    return key, value


def parse_tag_filter(text: str) -> tuple[str, Any]:
    """As ``parse_tag``, but a bare ``key`` stands for any of its values."""
    key, equals, value = text.partition("=")
    key = tag_key(key)
    if not equals:
        return key, ANY_VALUE
    if not value:
        return key, None
    try:
        parsed = json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return key, value
    return key, value if isinstance(parsed, float) and not math.isfinite(parsed) else parsed


def format_tag(key: str, value: Any) -> str:
    """``key=value`` as ``parse_tag`` reads it: text bare unless it would be read as something else."""
    if value is None:
        return f"{key}="
    if isinstance(value, str) and value.isprintable() and parse_tag_filter(f"{key}={value}")[1] == value:
        return f"{key}={value}"
    return f"{key}={json.dumps(value)}"


UNDECLARED = "undeclared "
"""How the keys of tags begin that say what bodies read beside their arguments."""


def undeclared_tags(reads: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What bodies read, as tags of their task."""
    return [(f"{UNDECLARED}{kind}", name) for kind, name in reads]


def current_author() -> str:
    """The user's name, for the record."""
    try:
        return clean_text(getpass.getuser(), 255)
    except (OSError, KeyError):  # a user id without a name
        return "unknown"


def tag_pairs(tags: Given) -> list[tuple[str, Any]]:
    """Keys and values, however they are given."""
    return list(tags.items() if isinstance(tags, Mapping) else tags)


def _without_secrets(key: object, value: Any) -> Any:
    """The value with the passwords and tokens in its texts hidden, and texts under keys that name secrets."""
    if isinstance(value, str):
        return HIDDEN if value and names_secret(str(key)) else redact(value)
    if isinstance(value, dict):
        return {name: _without_secrets(name, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(key, each) for each in value]
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
