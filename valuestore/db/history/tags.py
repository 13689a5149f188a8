"""Tags: key/value labels on executions, jobs, calls, tasks and values; values are JSON.

A record may have several current values of one key. Nothing is deleted: a tag that is removed or replaced
keeps its row, with the time and the author of its end.
"""

from __future__ import annotations

import getpass
import json
import math
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from sqlalchemy import Connection, and_, or_, select, text

from valuestore.db.engine.database import Database
from valuestore.db.history.names import Name, Names
from valuestore.db.history.records import TagRecord, reader
from valuestore.db.ids import new_id, now
from valuestore.db.record.rows import TagRow, clean_text
from valuestore.db.schema import tables as schema
from valuestore.errors import RecordNotFound, TagError
from valuestore.hashing import hash_bytes
from valuestore.redaction import HIDDEN, names_secret, redact

_record = reader(TagRecord)

ENTITIES = ("execution", "job", "call", "task", "value")

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
    """The rows that label one record. Raises: TagError."""
    return [tag_row(entity, entity_id, key, value, author) for key, value in _pairs(tags)]


def tag_row(entity: str, entity_id: str, key: str, value: Any, author: str | None = None) -> TagRow:
    """The row of one current tag. Raises: TagError for a value that is not JSON, and beyond the limits."""
    json_text, digest = tag_value(key, value)
    return TagRow(new_id(), entity, entity_id, tag_key(key), json_text, digest, author, now(), None, None)


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


def current_author() -> str:
    """The user's name, for the record."""
    try:
        return clean_text(getpass.getuser(), 255)
    except (OSError, KeyError):  # a user id without a name
        return "unknown"


class Tags:
    """Reads and changes the tags of one database. A record is given as itself, or as any name it has.

    Each change is one transaction. When two processes update one key at once, the later one's value is
    current, and the history has both.
    """

    def __init__(self, database: Database, before: Callable[[], object] = lambda: None) -> None:
        self.database = database
        self._names = Names(database)
        self._before = before

    def add(
        self,
        record: Name,
        tags: Given | None = None,
        *,
        author: str | None = None,
        **more: Any,
    ) -> list[TagRecord]:
        """Add tags beside those there are; one that is there already is left as it is.

        Returns all current ones. Raises: TagError, also if none is named; RecordNotFound; AmbiguousId.
        """
        entity, entity_id = self._entity(record)
        rows = tag_rows(entity, entity_id, _some(tags, more), author or current_author())

        def work(connection: Connection) -> list[TagRecord]:
            self._lock(connection, entity_id)
            self._insert(connection, rows)
            return self._current(connection, entity, entity_id)

        return self.database.transact(work)

    def update(
        self,
        record: Name,
        tags: Given | None = None,
        *,
        author: str | None = None,
        **more: Any,
    ) -> list[TagRecord]:
        """Set tags: each replaces all current values of its key. Returns all current ones. As ``add``."""
        entity, entity_id = self._entity(record)
        author = author or current_author()
        rows = tag_rows(entity, entity_id, _some(tags, more), author)

        def work(connection: Connection) -> list[TagRecord]:
            self._lock(connection, entity_id)
            for key in {row.key for row in rows}:
                stay = schema.tag.c.value_digest.in_([row.value_digest for row in rows if row.key == key])
                self._end(connection, entity, entity_id, [and_(schema.tag.c.key == key, ~stay)], author)
            self._insert(connection, rows)
            return self._current(connection, entity, entity_id)

        return self.database.transact(work)

    def remove(
        self,
        record: Name,
        *keys: str,
        tags: Given | None = None,
        author: str | None = None,
    ) -> int:
        """Remove tags: all current values of these ``keys``, and in ``tags`` single values. Returns how many.

        Raises: TagError if nothing is named; RecordNotFound; AmbiguousId.
        """
        entity, entity_id = self._entity(record)
        conditions: list[Any] = [schema.tag.c.key == tag_key(key) for key in keys]
        for key, value in _pairs(tags or {}):
            digest = tag_value(key, value)[1]
            conditions.append(and_(schema.tag.c.key == tag_key(key), schema.tag.c.value_digest == digest))
        if not conditions:
            raise TagError("", "name the keys to remove: nothing named does not mean all")

        def work(connection: Connection) -> int:
            self._lock(connection, entity_id)
            return self._end(connection, entity, entity_id, conditions, author or current_author())

        return self.database.transact(work)

    def get(self, record: Name) -> dict[str, Any]:
        """The current tags; of a key with several values, the newest. ``all`` has them."""
        return {tag.key: tag.value for tag in self.all(record)}

    def all(self, record: Name) -> list[TagRecord]:
        """The current tags, oldest first."""
        entity, entity_id = self._entity(record)
        with self.database.read() as connection:
            return self._current(connection, entity, entity_id)

    def history(self, record: Name) -> list[TagRecord]:
        """Every tag it ever had, oldest first, each with the author and time of its start and its end."""
        entity, entity_id = self._entity(record)
        statement = select(schema.tag).where(*_of(entity, entity_id)).order_by(schema.tag.c.tag_id)
        with self.database.read() as connection:
            return [_record(row) for row in connection.execute(statement)]

    def _entity(self, record: Name) -> tuple[str, str]:
        self._before()
        found = self._names.find_one(record)
        if found.kind not in ENTITIES:
            raise RecordNotFound(str(record), "record that can have tags")
        return found.kind, found.record_id

    def _current(self, connection: Connection, entity: str, entity_id: str) -> list[TagRecord]:
        table = schema.tag
        statement = select(table).where(*_of(entity, entity_id), table.c.ended.is_(None))
        return [_record(row) for row in connection.execute(statement.order_by(table.c.tag_id))]

    def _end(
        self, connection: Connection, entity: str, entity_id: str, conditions: Iterable[Any], author: str
    ) -> int:
        table = schema.tag
        which = (*_of(entity, entity_id), table.c.ended.is_(None), or_(*conditions))
        found = connection.execute(table.update().where(*which).values(ended=now(), ended_by=author))
        return int(found.rowcount)

    def _insert(self, connection: Connection, rows: list[TagRow]) -> None:
        """Those that are not there yet; a run may record the same tag at this moment."""
        insert = import_module(f"sqlalchemy.dialects.{self.database.dialect.name}").insert
        statement = insert(schema.tag).on_conflict_do_nothing()
        connection.execute(statement, [row._asdict() for row in rows])

    def _lock(self, connection: Connection, entity_id: str) -> None:
        """One writer of a record's tags at a time. SQLite has one writer anyway."""
        if not self.database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:id))"), {"id": entity_id})


def _of(entity: str, entity_id: str) -> tuple[Any, Any]:
    return schema.tag.c.entity_id == entity_id, schema.tag.c.entity == entity


def _pairs(tags: Given) -> list[tuple[str, Any]]:
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


def _some(tags: Given | None, more: Mapping[str, Any]) -> list[tuple[str, Any]]:
    together = [*_pairs(tags or {}), *more.items()]
    if not together:
        raise TagError("", "none was given")
    return together


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
