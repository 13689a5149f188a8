"""Ad-hoc SQL: one SELECT of the user's, on a connection that cannot write.

On SQLite the file is opened for reading, and an authorizer refuses whatever is not a read. On Postgres the
statement is made a cursor's, which takes a SELECT and nothing else, in a transaction that is read-only; a
superuser asks as one who may read every table and do nothing else.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from valuestore.db.engine.database import Database
from valuestore.db.engine.failure import typed_error
from valuestore.db.engine.sqlite import uri_to_read
from valuestore.db.record.rows import clean_text
from valuestore.errors import DatabaseError, ValuestoreError

_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_DESCRIBING = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"}
"""Pragmas that only tell what is there."""

_STEPS_BETWEEN_SIGNALS = 100_000
"""Ctrl-C reaches Python when SQLite calls back, after so many of its steps."""

POSTGRES_TIMEOUT_SECONDS = 300

_MAY_DO_ALL = (
    "SELECT rolsuper AND EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'pg_read_all_data') "
    "FROM pg_roles WHERE rolname = current_user"
)
"""A superuser's SELECT could read the server's files and reload it: those rights are put down."""
_FETCHED_AT_ONCE = 10_000


@dataclass(frozen=True)
class Rows:
    """A table of results: column names, and rows in the same order."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Each row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def ask(database: Database, sql: str, limit: int | None = None) -> Rows:
    """The rows of any SELECT. Raises: DatabaseError, also if it is no read; KeyboardInterrupt meanwhile."""
    if clean_text(sql, len(sql)) != sql:
        raise DatabaseError(database.name, "the statement holds a NUL or a lone surrogate")
    return (_ask_postgres if database.path is None else _ask_sqlite)(database, sql, limit)


def _ask_sqlite(database: Database, sql: str, limit: int | None) -> Rows:
    uri = uri_to_read(str(database.path), is_alone=database.is_read_only)
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=database.busy_timeout_seconds)
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
        raise _failure(database, error) from error


def _only_reading(action: int, name: str | None, *_: str | None) -> int:
    """SQLite's question while it prepares a statement. ATTACH would create files even when it only reads."""
    reads = (
        action in _READING
        or (action == sqlite3.SQLITE_PRAGMA and name in _DESCRIBING)
        or (action == sqlite3.SQLITE_UPDATE and name == "sqlite_master")  # json_each declares itself so
    )
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _ask_postgres(database: Database, sql: str, limit: int | None) -> Rows:
    import psycopg  # an optional driver

    url = database.url.set(drivername="postgresql")
    try:
        with psycopg.connect(
            url.render_as_string(hide_password=False), autocommit=True, connect_timeout=10
        ) as connection:
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = {POSTGRES_TIMEOUT_SECONDS * 1000}")
            connection.execute("BEGIN READ ONLY")
            may_all = connection.execute(_MAY_DO_ALL).fetchone()  # from here on it cannot be made to write
            if may_all and may_all[0]:
                connection.execute("SET LOCAL ROLE pg_read_all_data")
            # sent on its own (extended protocol), so that it is one statement; a cursor's is a SELECT
            declared = "DECLARE asked NO SCROLL CURSOR FOR " + sql.rstrip().rstrip(";")
            connection.cursor(binary=True).execute(declared.encode(), prepare=True)
            found = _fetched(connection, limit)
            connection.execute("ROLLBACK")
            return found
    except psycopg.Error as error:
        raise _failure(database, error) from error


def _fetched(connection: Any, limit: int | None) -> Rows:
    rows: list[tuple[Any, ...]] = []
    while True:
        most = _FETCHED_AT_ONCE if limit is None else min(_FETCHED_AT_ONCE, limit - len(rows))
        cursor = connection.execute(f"FETCH {max(0, most)} FROM asked".encode())
        more = cursor.fetchall()
        rows += more
        if len(more) < _FETCHED_AT_ONCE or len(rows) == limit:
            return Rows(tuple(column.name for column in cursor.description or ()), rows)


def _failure(database: Database, error: Exception) -> ValuestoreError:
    refused = ("readonly", "not authorized", "read-only transaction", "read-write mode", "must not contain")
    if any(words in str(error) for words in refused):
        return DatabaseError(database.name, "this command only reads")
    if isinstance(error, sqlite3.Error | sqlite3.Warning):
        return typed_error(database.name, error) or DatabaseError(database.name, str(error))
    return DatabaseError(database.name, str(error).partition("\n")[0])
