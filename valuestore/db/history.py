"""History: what ran, for people. Reads rows and views; runs no user code and loads no payload."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, and_, func, literal, select, text, union_all

from valuestore.db import schema
from valuestore.db.engine import Database
from valuestore.db.failure import typed_error
from valuestore.errors import DatabaseError, NotSupported
from valuestore.hashing import Digest

_PREFIXED = {
    "execution": schema.execution.c.execution_id,
    "job": schema.job.c.job_id,
    "call": schema.call_node.c.call_hash,
    "task": schema.task.c.task_hash,
    "value": schema.value.c.value_hash,
}
"""Kinds of records with the id they are found by, in the order they are shown."""

_HEX = frozenset("0123456789abcdef")

_END_OF_PREFIX = "g"
"""Sorts after every hex digit: ids with a prefix lie in [prefix, prefix + "g")."""

_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_DESCRIBING = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"}
"""Pragmas that only tell what is there."""

_STEPS_BETWEEN_SIGNALS = 100_000
"""Ctrl-C reaches Python when SQLite calls back, after so many of its steps."""


@dataclass(frozen=True)
class Found:
    """A record that an id prefix stands for: its kind (execution, job, call, task, value) and whole id."""

    kind: str
    record_id: str


@dataclass(frozen=True)
class Rows:
    """A table of results: column names, and rows in the same order."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Each row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class History:
    """Questions about the past of one database. Constant number of statements each."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def executions(self, limit: int = 20) -> Rows:
        """The newest executions, as in the view ``executions``."""
        return self._rows(
            "SELECT * FROM executions ORDER BY execution_id DESC LIMIT :limit", {"limit": limit}
        )

    def jobs(self, execution_id: str, limit: int = 1000) -> Rows:
        """The jobs of one execution in the order they were made, as in the view ``jobs``."""
        query = "SELECT * FROM jobs WHERE execution_id = :id ORDER BY job_id LIMIT :limit"
        return self._rows(query, {"id": execution_id, "limit": limit})

    def failed_jobs(self, execution_id: str, limit: int = 10) -> Rows:
        """The first of an execution's jobs that failed, as in the view ``jobs``."""
        query = (
            "SELECT * FROM jobs WHERE execution_id = :id AND status = 'failed' ORDER BY job_id LIMIT :limit"
        )
        return self._rows(query, {"id": execution_id, "limit": limit})

    def calls_that_gave(self, value_hash: str, limit: int = 10) -> Rows:
        """Finished calls with this result: task and call hash."""
        query = (
            "SELECT t.task_name AS task, c.call_hash FROM call_node c "
            "JOIN task t ON t.task_no = c.task_no WHERE c.value_hash = :id "
            "ORDER BY c.call_hash LIMIT :limit"
        )
        return self._rows(query, {"id": value_hash, "limit": limit})

    def find(self, prefix: str, limit: int = 10) -> list[Found]:
        """The records whose id starts with ``prefix``; at most ``limit`` of each kind. May be empty."""
        if not _HEX.issuperset(prefix):
            return []
        queries = [
            select(literal(kind).label("kind"), column.label("record_id"))
            .where(_starts_with(column, prefix))
            .limit(limit)
            .subquery()
            for kind, column in _PREFIXED.items()
        ]
        statement = union_all(*[select(query.c.kind, query.c.record_id) for query in queries])
        with self.database.read() as connection:
            return [Found(row.kind, row.record_id) for row in connection.execute(statement)]

    def describe(self, found: Found) -> dict[str, Any]:
        """Every column of one record; an execution or job as its view shows it."""
        views = {
            "execution": "SELECT * FROM executions WHERE execution_id = :id",
            "job": "SELECT v.*, j.traceback FROM jobs v JOIN job j ON j.job_id = v.job_id "
            "WHERE v.job_id = :id",
            "call": "SELECT c.call_hash, t.task_name AS task, t.task_hash, c.args_hash, c.value_hash, "
            "v.preview AS result, c.task_set_hash, c.external_set_hash, c.replayable FROM call_node c "
            "JOIN task t ON t.task_no = c.task_no LEFT JOIN value v ON v.value_hash = c.value_hash "
            "WHERE c.call_hash = :id",
            "task": "SELECT task_hash, task_name, version, source FROM task WHERE task_hash = :id",
            "value": "SELECT value_hash, type_name, codec, payload_digest, size, "
            "inline IS NOT NULL AS is_inline, preview FROM value WHERE value_hash = :id",
        }
        return self._rows(views[found.kind], {"id": found.record_id}).dicts()[0]

    def arguments(self, args_hash: str) -> Rows:
        """What a call or a failed job was given: name, type, preview and hash of each argument."""
        query = (
            "SELECT a.name, v.type_name, v.preview, a.value_hash FROM argument a "
            "LEFT JOIN value v ON v.value_hash = a.value_hash WHERE a.args_hash = :id ORDER BY a.position"
        )
        return self._rows(query, {"id": args_hash})

    def tags(self, entity_id: str) -> dict[str, str]:
        """The current tags of a record: key -> JSON."""
        query = "SELECT key, value FROM tag WHERE entity_id = :id AND ended IS NULL ORDER BY tag_id"
        return dict(self._rows(query, {"id": entity_id}).rows)

    def payload_digests(self) -> list[Digest]:
        """The payloads that the rows point to in the payload store, in order."""
        statement = select(schema.payload.c.payload_digest).order_by(schema.payload.c.payload_digest)
        with self.database.read() as connection:
            return [Digest(digest) for digest in connection.scalars(statement)]

    def sizes(self) -> tuple[dict[str, int], int, int]:
        """Rows by table, and payload bytes in the database and in the store."""
        counts = [
            select(literal(table.name), func.count()).select_from(table)
            for table in schema.metadata.sorted_tables
        ]
        inline = select(func.coalesce(func.sum(schema.value.c.size), 0)).where(
            schema.value.c.inline.is_not(None)
        )
        stored = select(func.coalesce(func.sum(schema.payload.c.size), 0))
        with self.database.read() as connection:
            rows = {row[0]: int(row[1]) for row in connection.execute(union_all(*counts))}
            return rows, int(connection.scalar(inline) or 0), int(connection.scalar(stored) or 0)

    def query(self, sql: str, limit: int | None = None) -> Rows:
        """Any SELECT of the user's. The database itself refuses to write, and to attach files.

        Raises: DatabaseError; KeyboardInterrupt while it runs.
        """
        if self.database.path is None:
            raise NotSupported(self.database.name, "ad-hoc SQL", "use psql with a read-only role")
        try:
            connection = sqlite3.connect(f"file:{quote(self.database.path)}?mode=ro", uri=True)
            try:
                connection.execute("PRAGMA query_only=ON")
                connection.set_authorizer(_only_reading)
                connection.set_progress_handler(lambda: 0, _STEPS_BETWEEN_SIGNALS)
                cursor = connection.execute(sql)
                rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
                return Rows(tuple(column[0] for column in cursor.description or ()), rows)
            finally:
                connection.close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            if str(error) == "interrupted":
                raise KeyboardInterrupt from error
            if "readonly" in str(error) or "not authorized" in str(error):
                raise DatabaseError(self.database.name, "this command only reads") from error
            raise typed_error(self.database.name, error) from error

    def _rows(self, sql: str, parameters: dict[str, Any]) -> Rows:
        with self.database.read() as connection:
            result = connection.execute(text(sql), parameters)
            return Rows(tuple(result.keys()), [tuple(row) for row in result])


def _starts_with(column: Any, prefix: str) -> ColumnElement[bool]:
    """A range, which an index answers; LIKE would not."""
    return and_(column >= prefix, column < prefix + _END_OF_PREFIX)


def _only_reading(action: int, name: str | None, *_: str | None) -> int:
    """SQLite's question while it prepares a statement. ATTACH would create files even when it only reads."""
    reads = (
        action in _READING
        or (action == sqlite3.SQLITE_PRAGMA and name in _DESCRIBING)
        or (action == sqlite3.SQLITE_UPDATE and name == "sqlite_master")  # json_each declares itself so
    )
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY
