"""The queries of tasks, values, files and tags: what there is, where jobs.py has what ran."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self, TypedDict, Unpack

from valuestore.db.engine.database import Database
from valuestore.db.history import conditions
from valuestore.db.history.conditions import Condition
from valuestore.db.history.jobs import Filtered, Filters, Moment
from valuestore.db.history.query import Context, Order, Query, Shape, columns_named
from valuestore.db.history.records import FileRecord, TagRecord, TaskRecord, ValueRecord
from valuestore.db.history.tags import ENTITIES
from valuestore.db.record.tag import tag_value
from valuestore.db.schema import tables as schema
from valuestore.errors import QueryError
from valuestore.hashing import Digest

_task, _value, _file, _tag = schema.task, schema.value, schema.file, schema.tag

# --- tasks ------------------------------------------------------------------------------------------


class TaskFilters(Filters, total=False):
    """``task``: full name, last part of it, or a pattern · ``source_contains``: text of its source."""

    task: str | None
    version: str | None
    source_contains: str | None


class TaskQuery(Filtered, Query[TaskRecord]):
    """Versions of tasks, newest first."""

    kind = "task"
    shape = Shape(
        TaskRecord,
        {"task": _task.c.task_name, **columns_named(_task, "task_hash version source")},
        _task,
        _task.c.task_hash,
        {
            "newest": Order((_task.c.task_no,), descending=True),
            "oldest": Order((_task.c.task_no,), descending=False),
            "name": Order((_task.c.task_name,), descending=False),
        },
    )

    def where(self, **filters: Unpack[TaskFilters]) -> Self:
        """Those that meet all of these: see ``TaskFilters``. Raises: QueryError; TagError."""
        return self._filtered(filters)

    def _where_task(self, pattern: Any) -> Condition:
        return self._task_is(pattern, _task.c.task_no).condition()

    def _where_version(self, version: Any) -> Condition:
        return _task.c.version == conditions.text_of("version", version)

    def _where_source_contains(self, part: Any) -> Condition:
        return conditions.contains("source_contains", _task.c.source, part)


# --- values and files -------------------------------------------------------------------------------


class ValueFilters(Filters, total=False):
    """``value_type``: pattern of the type's name · ``value``: that value itself · ``size_over``: payload
    bytes · ``file``: path or pattern of a file that it stands for or contains · ``preview_contains``:
    text of its preview.
    """

    value: Any
    value_type: str | None
    codec: str | None
    file: str | os.PathLike[str] | None
    size_over: int | None
    preview_contains: str | None


class ValueQuery(Filtered, Query[ValueRecord]):
    """Values, in the order of their hashes."""

    kind = "value"
    shape = Shape(
        ValueRecord,
        {
            **columns_named(_value, "value_hash type_name codec size payload_digest preview"),
            "is_inline": _value.c.inline.is_not(None),
            "path": _file.c.path,
        },
        _value.outerjoin(_file, _file.c.value_hash == _value.c.value_hash),
        _value.c.value_hash,
        {
            "id": Order((), descending=False),
            "largest": Order((_value.c.size,), descending=True),
        },
    )

    def where(self, **filters: Unpack[ValueFilters]) -> Self:
        """Those that meet all of these: see ``ValueFilters``. Raises: QueryError; NotHashableError."""
        return self._filtered(filters)

    def _where_value(self, value: Any) -> Condition:
        return _value.c.value_hash == self._hash("value", value)

    def _where_value_type(self, pattern: Any) -> Condition:
        return self._matches("value_type", _value.c.type_name, pattern)

    def _where_codec(self, codec: Any) -> Condition:
        return _value.c.codec == conditions.text_of("codec", codec)

    def _where_file(self, pattern: Any) -> Condition:
        return _value.c.value_hash.in_(conditions.files_at("file", pattern, sqlite=self._sqlite))

    def _where_size_over(self, size: Any) -> Condition:
        if isinstance(size, bool) or not isinstance(size, int) or abs(size) >= 1 << 63:
            raise QueryError("size_over", f"expected a number of bytes, not {str(size)[:80]!r}")
        return _value.c.size > size

    def _where_preview_contains(self, part: Any) -> Condition:
        return conditions.contains("preview_contains", _value.c.preview, part)


class FileFilters(Filters, total=False):
    """``path``: as written, or a pattern: ``*`` matches any characters, ``/`` too, ``?`` one; a ``Path`` is
    never a pattern · ``file_kind``: File, FileSet or Dir.
    """

    path: str | os.PathLike[str] | None
    file_kind: str | Sequence[str] | None


class FileQuery(Filtered, Query[FileRecord]):
    """Files, folders and sets of files, by path; one record for each content that was seen."""

    kind = "file"
    shape = Shape(
        FileRecord,
        {"file_kind": _file.c.kind, "preview": _value.c.preview, **columns_named(_file, "path value_hash")},
        _file.outerjoin(_value, _value.c.value_hash == _file.c.value_hash),
        _file.c.value_hash,
        {
            "path": Order((_file.c.path,), descending=False),
            "id": Order((), descending=False),
        },
    )

    def where(self, **filters: Unpack[FileFilters]) -> Self:
        """Those that meet all of these: see ``FileFilters``. Raises: QueryError; TagError."""
        return self._filtered(filters)

    def exactly(self, path: str) -> Self:
        """Those at this path, whatever characters it has."""
        return self._with(_conditions=(*self._conditions, _file.c.path == path))

    def _where_path(self, pattern: Any) -> Condition:
        return conditions.at_path("path", pattern, sqlite=self._sqlite)

    def _where_file_kind(self, given: Any) -> Condition:
        return _file.c.kind.in_(conditions.one_of("file_kind", given, ("File", "FileSet", "Dir")))

    def _where_tag(self, given: Any) -> Condition:
        return conditions.tagged("tag", "value", _file.c.value_hash, given)


# --- tags -------------------------------------------------------------------------------------------


class TagFilters(TypedDict, total=False):
    """``key``: pattern · ``value``: JSON value · ``tag``: as everywhere · ``record``: id of what it is on
    · ``entity``: kinds of records · ``current``: whether it still is; not given: either way.
    """

    id: str | None
    key: str | None
    value: Any
    entity: str | Sequence[str] | None
    record: str | None
    author: str | None
    current: bool | None
    since: Moment
    until: Moment


class TagQuery(Filtered, Query[TagRecord]):
    """Tags, newest first; those that were replaced or removed are there too."""

    kind = "tag"
    shape = Shape(
        TagRecord,
        dict(_tag.c.items()),
        _tag,
        _tag.c.tag_id,
        {"newest": Order((), descending=True), "oldest": Order((), descending=False)},
    )

    def where(self, **filters: Unpack[TagFilters]) -> Self:
        """Those that meet all of these: see ``TagFilters``. Raises: QueryError; TagError."""
        return self._filtered(filters)

    def _where_key(self, pattern: Any) -> Condition:
        return self._matches("key", _tag.c.key, pattern)

    def _where_value(self, value: Any) -> Condition:
        return _tag.c.value_digest == tag_value("", value)[1]

    def _where_entity(self, given: Any) -> Condition:
        return _tag.c.entity.in_(conditions.one_of("entity", given, ENTITIES))

    def _where_record(self, prefix: Any) -> Condition:
        return conditions.starts_with("record", _tag.c.entity_id, prefix)

    def _where_author(self, pattern: Any) -> Condition:
        return self._matches("author", _tag.c.author, pattern)

    def _where_current(self, current: Any) -> Condition:
        return _tag.c.ended.is_(None) if current else _tag.c.ended.is_not(None)

    def _where_since(self, when: Any) -> Condition:
        return _tag.c.created >= conditions.moment_of("since", when)

    def _where_until(self, when: Any) -> Condition:
        return _tag.c.created < conditions.moment_of("until", when)

    def _where_tag(self, given: Any) -> Condition:
        raise QueryError("tags have no filter 'tag'", "use key and value")


# --- Census: which kinds of values a database holds, and all of a codec. Loads no payload.


@dataclass(frozen=True)
class Kind:
    """Values of one type that are stored in one way, and how many there are."""

    type_name: str
    codec: str
    count: int


def find_kinds(database: Database) -> list[Kind]:
    """Every kind there is, in order. One statement, over all values."""
    return [Kind(*row) for row in database.rows("SELECT type, codec, number FROM storage ORDER BY 1, 2")]


def find_signers(database: Database) -> dict[str, int]:
    """The keys that vouch for values here, by id, each with the number of these. Verifies nothing."""
    return dict(database.rows("SELECT key_id, count(*) FROM signature GROUP BY key_id ORDER BY key_id"))


def find_by_codec(database: Database, codec: str) -> Iterator[list[Digest]]:
    """The values of that codec, by hash, in pages; those that are added meanwhile may be among them."""
    found = (Digest(record.value_hash) for record in ValueQuery(Context(database)).where(codec=codec))
    while page := list(islice(found, 500)):
        yield page
