"""Conditions: what people filter by, as SQL with bound parameters. Called by the queries of the history.

Text is data: wildcards are ``*`` and ``?`` where a filter documents them, and ``%`` and ``_`` are plain
characters. Nothing that a caller gives becomes an identifier or part of a statement.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, select, union

from valuestore.db.history.names import END_OF_PREFIX, is_prefix, spellings
from valuestore.db.history.records import microseconds
from valuestore.db.record.rows import clean_text
from valuestore.db.record.tag import ANY_VALUE, parse_tag_filter, tag_key, tag_value
from valuestore.db.schema import tables as schema
from valuestore.errors import QueryError
from valuestore.hashing import is_digest

LONGEST_TEXT = 10_000
"""Characters of a filter: databases bound the length of patterns."""

_FAR = 10**18
"""Microseconds, 31,000 years: what is longer does not fit the databases' integers."""

Condition = ColumnElement[bool]


def text_of(name: str, given: object) -> str:
    """The text as rows have it: NUL and lone surrogates escaped. Raises: QueryError."""
    if not isinstance(given, str):
        raise QueryError(name, f"expected text, not {type(given).__name__}")
    if len(given) > LONGEST_TEXT:
        raise QueryError(name, f"{len(given)} characters are too many to look for")
    return clean_text(given, LONGEST_TEXT)


def starts_with(name: str, column: Any, prefix: object) -> Condition:
    """Ids with this beginning: a range, which an index answers; LIKE would not. Raises: QueryError."""
    text = text_of(name, prefix).strip().lower()
    if not is_prefix(text):
        raise QueryError(name, f"{text[:80]!r} is not the beginning of an id: ids are hex digits")
    return and_(column >= text, column < text + END_OF_PREFIX)


def matches(name: str, column: Any, pattern: object, *, sqlite: bool, by_bytes: bool = False) -> Condition:
    """The text, or a pattern with ``*`` and ``?``, which also match ``/``. Case counts.

    ``by_bytes``: the column sorts by its bytes, so an index answers for what is before the first wildcard.
    """
    text = text_of(name, pattern)
    beginning = text[: min((text + "*").index("*"), (text + "?").index("?"))]
    if beginning == text:
        return column == text  # type: ignore[no-any-return]  # columns are Any here
    if sqlite:
        condition: Condition = column.op("GLOB", is_comparison=True)(text.replace("[", "[[]"))
    else:
        condition = column.like(_escaped(text).replace("*", "%").replace("?", "_"), escape="\\")
    if not (by_bytes and beginning):
        return condition
    end = _after(beginning)
    begins = and_(column >= beginning, column < end) if end else column >= beginning
    return begins if text == f"{beginning}*" else and_(begins, condition)


def contains(name: str, column: Any, part: object) -> Condition:
    """Texts that have this part; the case of ASCII letters does not count."""
    text = text_of(name, part)
    return func.lower(column).contains(func.lower(literal(_escaped(text))), escape="\\")


def moment_of(name: str, when: object) -> int:
    """A time: an aware datetime, or a timedelta before now. Raises: QueryError for a naive datetime."""
    if isinstance(when, timedelta):
        return microseconds(datetime.now(UTC)) - micros_of(name, when)
    if not isinstance(when, datetime):
        raise QueryError(name, f"expected a datetime or timedelta, not {type(when).__name__}")
    if when.tzinfo is None or when.utcoffset() is None:
        raise QueryError(name, "the datetime is naive: give it a time zone, such as datetime.timezone.utc")
    return microseconds(when)


def micros_of(name: str, length: object) -> int:
    """A duration in seconds, or as a timedelta, in microseconds. Raises: QueryError."""
    if isinstance(length, timedelta):
        return min(max(length // timedelta(microseconds=1), -_FAR), _FAR)
    if isinstance(length, bool) or not isinstance(length, int | float) or not -1e12 < length < 1e12:
        raise QueryError(name, f"expected seconds or a timedelta, not {length!r}"[:200])
    return round(length * 1e6)


def one_of(name: str, given: object, known: tuple[str, ...]) -> tuple[str, ...]:
    """One name or several of an enumeration. Raises: QueryError listing them."""
    asked = tuple(given) if isinstance(given, list | tuple | set) else (given,)
    wrong = [each for each in asked or (given,) if each not in known]
    if wrong:
        raise QueryError(name, f"expected one of {', '.join(known)}, not {str(wrong[0])[:80]!r}")
    return asked


def tagged(name: str, entity: str, column: Any, given: object) -> Condition:
    """Records with these current tags: ``"key"``, ``"key=value"``, a dict, or a list of texts."""
    table = schema.tag
    conditions = []
    for key, value in _tags(name, given):
        of_key = table.c.key == key, table.c.entity == entity, table.c.ended.is_(None)
        with_tag = select(table.c.entity_id).where(*of_key)
        if value is not ANY_VALUE:
            with_tag = with_tag.where(table.c.value_digest == tag_value(key, value)[1])
        conditions.append(column.in_(with_tag))
    return and_(*conditions)


def _tags(name: str, given: object) -> list[tuple[str, Any]]:
    if isinstance(given, Mapping):
        pairs = [(tag_key(key), value) for key, value in given.items()]
    else:
        texts = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
        pairs = [parse_tag_filter(text) for text in texts]
    if not pairs:
        raise QueryError(name, "expected 'key', 'key=value', a dict, or a list of texts")
    return pairs


# --- values and calls -------------------------------------------------------------------------------


def files_at(name: str, pattern: object, *, sqlite: bool) -> Select[Any]:
    """The values that stand for files at a path, or below one with ``*``, and all values they are in."""
    values = select(schema.file.c.value_hash.label("value_hash"))
    return _with_containers(values.where(at_path(name, pattern, sqlite=sqlite)))


def at_path(name: str, pattern: object, *, sqlite: bool) -> Condition:
    """Files at a path, as it is written or without its ``./`` and ``..``; a text may be a pattern."""
    column = schema.file.c.path
    text = text_of(name, os.fspath(pattern) if isinstance(pattern, os.PathLike) else pattern)
    if not isinstance(pattern, os.PathLike) and set("*?") & set(text):
        return matches(name, column, text, sqlite=sqlite, by_bytes=True)
    return column.in_(spellings(text))


def values_with_hash(name: str, value_hash: object) -> Select[Any]:
    """A value, or those whose hash begins so, and all values they are in. Raises: QueryError."""
    if is_digest(value_hash):
        return _with_containers(select(literal(value_hash).label("value_hash")))
    column = schema.value.c.value_hash
    return _with_containers(select(column).where(starts_with(name, column, value_hash)))


def calls_given(values: Any, parameter: str | None = None) -> Select[Any]:
    """The argument lists that have one of these values."""
    argument = schema.argument
    found = select(argument.c.args_hash).where(argument.c.value_hash.in_(values))
    return found if parameter is None else found.where(argument.c.name == parameter)


def calls_with_file(values: Any) -> Any:
    """Calls that gave or were given one of these values."""
    call = schema.call_node
    return union(
        select(call.c.call_hash).where(call.c.value_hash.in_(values)),
        select(call.c.call_hash).where(call.c.args_hash.in_(calls_given(values))),
    )


def _with_containers(values: Select[Any]) -> Select[Any]:
    around = values.cte(recursive=True)  # a query may have several, each with its own name
    inside = schema.subvalue
    further = around.join(inside, inside.c.child_hash == around.c.value_hash)
    around = around.union(select(inside.c.parent_hash).select_from(further))
    return select(around.c.value_hash)


def _escaped(text: str) -> str:
    return re.sub(r"[\\%_]", r"\\\g<0>", text)


def _after(prefix: str) -> str | None:
    """The first text, in the order of UTF-8, after all those with the prefix; None if there is none."""
    for end in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[end])
        if code < 0x10FFFF:
            return prefix[:end] + chr(0xE000 if code == 0xD7FF else code + 1)
    return None
