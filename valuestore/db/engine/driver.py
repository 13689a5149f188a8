"""Driver: statements in the words of sqlite3 or psycopg themselves, on one of their connections.

What runs record and look up goes this way. Through SQLAlchemy a small statement costs ten times as much, and
its import more than a short program. The statements are kept as text (schema/kept.py), and written once for
both databases; its pool lends the connections of Postgres.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import finalize

from valuestore.db.engine.failure import ESCAPED

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from valuestore.db.engine.deadline import Watchdog

T = TypeVar("T")

_RESTART_MILLISECONDS = 50
"""How long writers may wait for readers, once in a while, so that the log does not grow for ever."""

Parameters = Mapping[str, Any] | tuple[Any, ...]
Table = tuple[tuple[str, ...], list[Any]]
"""Names of columns, and rows in the same order."""


class Driver(Protocol):
    """A connection to run kept statements on. Text that is not UTF-8 comes escaped."""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """The rows of a SELECT."""

    def table(self, sql: str, parameters: Parameters = ()) -> Table:
        """The same, with the names of the columns."""

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        """Run what gives no rows: how many it changed."""

    def insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Run it for each row: how many it added or changed."""


class SqliteDriver(Driver):
    """A thread's own connection to a SQLite file, which ends with the thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # not __del__: in a circle that is collected the connection's own may come first, and warns
        finalize(self, _leave, connection, os.getpid()).atexit = False
        connection.text_factory = str  # until damaged text is met: to look for it takes longer

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            self._escape_after(error)
        return self._connection.execute(sql, parameters).fetchall()

    def table(self, sql: str, parameters: Parameters = ()) -> Table:
        cursor = self._connection.execute(sql, parameters)
        try:
            names = tuple(column[0] for column in cursor.description)
            return names, cursor.fetchall()
        except sqlite3.OperationalError as error:
            self._escape_after(error)
        finally:
            cursor.close()  # a kept traceback would hold it, and its transaction with it
        return names, self._connection.execute(sql, parameters).fetchall()

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        return self._connection.executemany(sql, rows).rowcount

    def written(self, work: Callable[[Driver], T], patience: float | None, otherwise: float) -> T:
        """Do ``work`` in one write transaction: committed at the end, rolled back on an exception.

        ``patience`` is how long it waits for the lock, in seconds, if not as long as ``otherwise``.
        """
        connection = self._connection
        try:  # one frame: between two, an interrupt would leave the transaction open
            if patience is not None:
                connection.execute(f"PRAGMA busy_timeout={int(1000 * patience)}")
            connection.execute("BEGIN IMMEDIATE")
            done = work(self)
            connection.execute("COMMIT")
            return done
        except BaseException:
            if connection.in_transaction:  # some errors have ended it
                connection.execute("ROLLBACK")
            raise
        finally:
            if patience is not None:
                connection.execute(f"PRAGMA busy_timeout={int(1000 * otherwise)}")

    def checkpoint(self, otherwise: float) -> bool:
        """Copy the log back, and have it begin anew: whether a reader keeps it from that."""
        try:
            self._connection.execute(f"PRAGMA busy_timeout={_RESTART_MILLISECONDS}")
            return bool(self.rows("PRAGMA wal_checkpoint(RESTART)")[0][0])
        finally:
            self._connection.execute(f"PRAGMA busy_timeout={int(1000 * otherwise)}")

    def _escape_after(self, error: sqlite3.OperationalError) -> None:
        if "not decode to UTF-8" not in str(error):
            raise error
        self._connection.text_factory = ESCAPED


_of_parents: list[sqlite3.Connection] = []
"""Connections of the process that this one was forked from: SQLite forbids to use and to close them."""


def _leave(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():
        connection.close()
    else:
        _of_parents.append(connection)


class PostgresDriver(Driver):
    """The connection of psycopg behind one of SQLAlchemy's, which keeps the transaction."""

    def __init__(self, connection: Connection, watchdog: Watchdog) -> None:
        self._connection = connection
        self._watchdog = watchdog

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        return self._run(lambda cursor: cursor.execute(sql, parameters).fetchall())

    def table(self, sql: str, parameters: Parameters = ()) -> Table:
        def ask(cursor: Any) -> Table:
            rows = cursor.execute(sql, parameters).fetchall()
            return tuple(column.name for column in cursor.description), rows

        return self._run(ask)

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        return self._run(lambda cursor: int(cursor.execute(sql, parameters).rowcount))

    def insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        def add(cursor: Any) -> int:
            cursor.executemany(sql, rows)
            return int(cursor.rowcount)

        return self._run(add)

    def _run(self, work: Callable[[Any], T]) -> T:
        """Under the watchdog's eyes; a connection that is lost goes back to no pool."""
        driver: Any = self._connection.connection.driver_connection
        self._watchdog.arm(driver)
        try:
            with driver.cursor() as cursor:
                return work(cursor)
        except BaseException as error:
            if driver.closed or not getattr(error, "sqlstate", None):  # it may be in the middle of an answer
                self._connection.invalidate(error)
            raise
        finally:
            self._watchdog.disarm(driver)
