"""Database: the connections to one metadata database, and its errors as ours.

SQLite is set up here: write-ahead log, ``BEGIN IMMEDIATE`` for writers, a busy timeout, and checkpoints
under a file lock. It knows no table; what is read and written is decided by its callers in this folder.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, create_engine, event, exc
from sqlalchemy.engine import make_url

from valuestore.errors import (
    ConfigError,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseError,
    NotARepository,
    StoreReadOnly,
    ValuestoreError,
)

BUSY_TIMEOUT_SECONDS = 60.0
_CHECKPOINT_BYTES = 4 << 20
_NEEDS_LOCKED_CHECKPOINT = sqlite3.sqlite_version_info < (3, 51, 3)
"""Before 3.51.3 a checkpoint can race a writer that resets the log: https://sqlite.org/wal.html#walresetbug"""


class Database:
    """One database by URL, such as ``sqlite:////data/.valuestore/valuestore.db``.

    Thread-safe. A connection is used by the process that made it alone: after a fork the child makes its own.
    """

    def __init__(self, url: str | URL, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> None:
        try:
            self.url = make_url(url)
        except exc.ArgumentError as error:
            raise ConfigError("database", "it is not a database URL") from error
        self.name = self.url.render_as_string(hide_password=True)
        self.busy_timeout_seconds = busy_timeout_seconds
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = self.url.database if self.is_sqlite else None
        arguments = {"timeout": busy_timeout_seconds, "check_same_thread": False} if self.is_sqlite else {}
        self._engine = create_engine(self.url, connect_args=arguments, pool_pre_ping=not self.is_sqlite)
        self.dialect = self._engine.dialect
        self._pid = os.getpid()
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "checkout", _on_checkout)
        if self.is_sqlite:
            event.listen(self._engine, "begin", _begin)

    @classmethod
    def at(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """The SQLite database in the file at ``path``, whatever characters it has."""
        return cls(URL.create("sqlite", database=os.fspath(path)), **settings)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading, in a transaction of its own. Raises: DatabaseError."""
        with self._typed_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in one write transaction: committed at the end, rolled back on an exception.

        Raises: DatabaseBusy after ``busy_timeout_seconds``; DatabaseError.
        """
        with self._typed_errors(), self._engine.connect() as connection:
            writing = connection.execution_options(writes=True)
            with writing.begin():
                yield writing
        self._checkpoint_if_long()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time: creation, migration, checkpoints. SQLite only; elsewhere it does nothing."""
        if self.path is None:
            yield
            return
        try:
            with _file_lock(self.path).acquire(timeout=self.busy_timeout_seconds):
                yield
        except Timeout as error:
            raise DatabaseBusy(self.name, f"locked for over {self.busy_timeout_seconds:g} s") from error
        except PermissionError as error:
            raise StoreReadOnly(self.path, error.strerror or str(error)) from error

    def use_write_ahead_log(self) -> None:
        """Set once, when the database is made: switching later ignores the busy timeout."""
        with self._typed_errors(), self._engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]

    def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the file."""
        if self._pid != os.getpid():
            self._engine.dispose(close=False)  # they are the parent's
            return
        if self.path is None or not os.path.exists(self.path) or not os.access(self.path, os.W_OK):
            self._engine.dispose()
            return
        with self.lock():
            self._engine.dispose()

    def _on_connect(self, connection: Any, record: Any) -> None:
        record.info["pid"] = os.getpid()
        if self.is_sqlite:
            connection.isolation_level = None  # transactions are begun below, not guessed by the driver
            connection.execute("PRAGMA synchronous=NORMAL")
            if _NEEDS_LOCKED_CHECKPOINT:
                connection.execute("PRAGMA wal_autocheckpoint=0")

    def _checkpoint_if_long(self) -> None:
        if self.path is None or not _NEEDS_LOCKED_CHECKPOINT:
            return
        try:
            if os.stat(f"{self.path}-wal").st_size < _CHECKPOINT_BYTES:
                return
            with (
                self._typed_errors(),
                _file_lock(self.path).acquire(timeout=0),
                self._engine.connect() as live,
            ):
                live.connection.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]
        except (OSError, Timeout):
            return  # no log, or somebody else is at it

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except ValuestoreError:
            raise
        except exc.DBAPIError as error:
            raise typed_error(self.name, str(error.orig)) from error
        except sqlite3.Error as error:
            raise typed_error(self.name, str(error)) from error
        except exc.SQLAlchemyError as error:
            raise DatabaseError(self.name, str(error).partition("\n")[0]) from error


@cache
def _file_lock(path: str) -> FileLock:
    """One lock for each file, which a thread may take again: a finalizer can run while it is held."""
    return FileLock(f"{path}.lock")


def typed_error(database: str, message: str) -> ValuestoreError:
    """Our error for what a database driver said."""
    if "database is locked" in message or "database table is locked" in message:
        return DatabaseBusy(database, "another process kept it locked for longer than the timeout")
    if "not a database" in message:
        return NotARepository(database, "the file is no SQLite database")
    if "malformed" in message or "disk image" in message:
        return DatabaseDamaged(database, message)
    if "readonly" in message or "unable to open" in message:
        return StoreReadOnly(database, message)
    return DatabaseError(database, message.partition("\n")[0])


def _on_checkout(_connection: Any, record: Any, proxy: Any) -> None:
    """Never use a parent's connection after a fork: SQLite forbids it, and Postgres would share a socket."""
    if record.info.get("pid") not in (None, os.getpid()):
        record.dbapi_connection = proxy.dbapi_connection = None
        raise exc.DisconnectionError("the connection belongs to another process")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
