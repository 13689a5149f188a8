"""Session: one connection with tables of its own, for work that goes over a whole database.

Statements are written once for both databases, with parameters as ``:name``. What is worked out is kept in
temporary tables, so that memory stays flat. Transactions are begun by hand, and are short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from valuestore.db.engine.database import Database
from valuestore.db.schema.kept import listed
from valuestore.db.schema.views import NOW
from valuestore.errors import CollectionRefused

_PARAMETER = re.compile(r":([a-z]\w*)")

_SETTINGS: Mapping[bool, Mapping[str, Any]] = {
    True: {"temp.cache_size": -32_768, "main.cache_size": -65_536},
    False: {"statement_timeout": 0, "enable_hashjoin": "off", "enable_mergejoin": "off"},
}
"""Of the session, by whether it is SQLite: KiB of pages, since digests lie anywhere; and on Postgres no
deadline, and lookups by index, since the planner knows nothing of temporary tables."""


class Session:
    """A connection of ``database`` while ``opened`` runs; used by one thread."""

    def __init__(self, database: Database, connection: Any) -> None:
        self.database = database
        self.is_sqlite = database.is_sqlite
        self.now = NOW[database.dialect_name]
        self._connection = connection
        self.made: list[str] = []

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        return list(self._execute(sql, parameters).fetchall())

    def one(self, sql: str, **parameters: Any) -> Any:
        """The first column of the first row; None if there is no row."""
        row = self._execute(sql, parameters).fetchone()
        return None if row is None else row[0]

    def change(self, sql: str, **parameters: Any) -> int:
        """Run what gives no rows: how many it changed."""
        return int(self._execute(sql, parameters).rowcount)

    def make(self, name: str, columns: str) -> None:
        """A temporary table, gone with the session."""
        self.made.append(name)
        kind = "WITHOUT ROWID" if self.is_sqlite else ""  # one tree, not two
        self.change(f"CREATE TEMPORARY TABLE {name} ({columns}) {kind}")

    def listed(self, name: str) -> str:
        """SQL for the texts in a parameter that is a JSON list."""
        return listed(self.database.dialect_name, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction, which waits for writers that are at it and has them wait."""
        self.database.check_writable()
        self.change("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
        try:
            if not self.is_sqlite:  # whom recorders wait for: see record/guard.py
                self.change("LOCK TABLE repository IN EXCLUSIVE MODE")
            yield
            self.change("COMMIT")
        except BaseException:
            with suppress(Exception):  # some errors have ended it, or the connection
                self.change("ROLLBACK")
            raise

    def checkpoint(self) -> None:
        """Have SQLite copy back what was written, which only some ways to write do."""
        if self.is_sqlite and not self.database.is_read_only:
            self.database.change(lambda _: None)

    def _execute(self, sql: str, parameters: Mapping[str, Any]) -> Any:
        if not self.is_sqlite:
            sql = _PARAMETER.sub(r"%(\1)s", sql) if parameters else sql
            return self._connection.execute(sql, parameters or None)
        return self._connection.execute(sql, parameters)

    def set(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Change these settings of the connection; what they were."""
        ask = "PRAGMA" if self.is_sqlite else "SHOW"
        before = {name: self.one(f"{ask} {name}") for name in settings}
        for name, value in settings.items():
            self.change(f"PRAGMA {name} = {value}" if self.is_sqlite else f"SET {name} = '{value}'")
        return before


@contextmanager
def opened(database: Database) -> Iterator[Session]:
    """A session on the database. Raises: CollectionRefused behind a pooler; DatabaseError."""
    with database.read() as connection:
        if connection.info.get("limits"):
            raise CollectionRefused(database.name, "a pooler is in between; name the server itself")
        session = Session(database, connection.connection.driver_connection)
        before = session.set(_SETTINGS[session.is_sqlite])
        try:
            yield session
        finally:
            with suppress(Exception):  # a lost connection has nothing to be cleared
                for name in session.made:
                    session.change(f"DROP TABLE IF EXISTS {name}")
                session.set(before)
