"""Database: the connections to one metadata database, and its errors as ours.

SQLite is set up here: write-ahead log, ``BEGIN IMMEDIATE`` for writers, a busy timeout, and checkpoints
under a file lock. So is Postgres: deadlines, and work that is done again when a connection is lost. It
knows no table; what is read and written is decided by its callers in this folder.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Self, TypeVar
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, create_engine, event, exc
from sqlalchemy.engine import make_url

from valuestore.db.engine.deadline import Watchdog, watch
from valuestore.db.engine.failure import (
    ESCAPED,
    escape_text,
    fetch_all,
    is_transient,
    lock_holders,
    typed_error,
)
from valuestore.errors import ConfigError, DatabaseBusy, DatabaseError, StoreReadOnly, ValuestoreError
from valuestore.lazy import renew_after_fork
from valuestore.permissions import PRIVATE, make_file

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 60.0
STATEMENT_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 15.0
"""How long work is tried again after lost connections, deadlocks and serialization failures."""
_PING_AFTER_SECONDS = 1.0
_ADVISORY_LOCK = 0x76616C7565  # any number that others are unlikely to use
_CHECKPOINT_BYTES = 4 << 20
NEEDS_LOCKED_CHECKPOINT = sqlite3.sqlite_version_info < (3, 51, 3)
"""Before 3.51.3 a checkpoint can race a writer that resets the log: https://sqlite.org/wal.html#walresetbug"""


class Database:
    """One database by URL: ``sqlite:////data/.valuestore/valuestore.db``, ``postgresql://user@host/name``.

    Thread-safe. A connection is used by the process that made it alone: after a fork the child makes its
    own. ``password`` is kept out of ``name`` and of every message. ``is_read_only``: a SQLite file that
    this process cannot write, or whose folder it cannot; it is read as it is. A SQLite file that is made
    gets ``file_mode``, and what lies beside it (log, lock, copies) the mode of the file.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        password: str | None = None,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
        statement_timeout_seconds: float = STATEMENT_TIMEOUT_SECONDS,
        file_mode: int = PRIVATE,
    ) -> None:
        self.url = _parsed(url, password)
        self.name = self.url.render_as_string(hide_password=True)
        self.busy_timeout_seconds = busy_timeout_seconds
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = self.url.database if self.is_sqlite else None
        self.file_mode = file_mode
        self.is_read_only = self.path is not None and _is_read_only(self.path)
        self._watchdog = None if self.is_sqlite else Watchdog(1.1 * statement_timeout_seconds + 1)
        options = self._options(statement_timeout_seconds)
        self._engine = create_engine(self.url, hide_parameters=True, **options)
        self.dialect = self._engine.dialect
        self._is_connected = False  # by this process
        renew_after_fork(self._leave_connections)
        self._local = threading.local()
        event.listen(self._engine, "connect", self._on_connect)
        if self._watchdog is None:
            event.listen(self._engine, "begin", _begin)
        else:
            watch(self._engine, self._watchdog)

    @classmethod
    def at(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """The SQLite database in the file at ``path``, whatever characters it has."""
        return cls(URL.create("sqlite", database=os.fspath(path)), **settings)

    def _options(self, statement_seconds: float) -> dict[str, Any]:
        if self.path is not None and self.is_read_only:
            return {"creator": lambda: _connect_read_only(str(self.path), self.busy_timeout_seconds)}
        if self.is_sqlite:
            return {"connect_args": {"timeout": self.busy_timeout_seconds, "check_same_thread": False}}
        limits = {
            "statement_timeout": statement_seconds,
            "lock_timeout": min(self.busy_timeout_seconds, 0.9 * statement_seconds),  # to be told apart
            "idle_in_transaction_session_timeout": 10 * statement_seconds,
        }
        options = " ".join(f"-c {name}={max(1, int(value * 1000))}" for name, value in limits.items())
        connect_seconds = max(1, int(min(CONNECT_TIMEOUT_SECONDS, statement_seconds)))
        arguments = {"connect_timeout": connect_seconds, "options": options, "client_encoding": "utf8"}
        return {"connect_args": arguments, "pool_size": 5, "max_overflow": 20, "pool_use_lifo": True}

    # --- reading and writing ------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading. Raises: DatabaseError."""
        with self._typed_errors(), self._connect() as connection:
            if self.is_sqlite:
                yield connection
            else:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self, *, is_bounded: bool = True) -> Iterator[Connection]:
        """A connection in one write transaction: committed at the end, rolled back on an exception.

        Not ``is_bounded``: its statements may take as long as they need. Raises: StoreReadOnly;
        DatabaseBusy after ``busy_timeout_seconds``; DatabaseError.
        """
        self.check_writable()
        with self._typed_errors(), self._connect() as connection:
            writing = connection.execution_options(writes=True, is_bounded=is_bounded)
            with writing.begin():
                if not self.is_sqlite and not is_bounded:
                    writing.exec_driver_sql("SET LOCAL statement_timeout = 0")
                yield writing
        self._checkpoint_if_long()

    def check_writable(self) -> None:
        """Raises: StoreReadOnly if this is a file that can only be read."""
        if self.is_read_only:
            raise StoreReadOnly(str(self.path), "this process may only read it")

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one write transaction, all of it again if the database could not take it.

        ``work`` has to be harmless when it is done twice: whether a commit arrived whose connection was
        lost is not known, so it is done again. Raises: as ``write``.
        """
        return self._again(lambda: self._written(work))

    def fetch(self, work: Callable[[Connection], T]) -> T:
        """Read what ``work`` reads, once more if the connection was lost. Raises: DatabaseError."""

        def read() -> T:
            with self.read() as connection:
                return work(connection)

        return self._again(read)

    def _written(self, work: Callable[[Connection], T]) -> T:
        with self.write() as connection:
            return work(connection)

    def _again(self, attempt: Callable[[], T]) -> T:
        give_up = time.monotonic() + min(_RETRY_SECONDS, self.busy_timeout_seconds)
        pause = 0.05
        while True:
            try:
                return attempt()
            except ValuestoreError as error:
                if not is_transient(error) or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311  # spreads writers, hides nothing
            pause = min(2 * pause, 2.0)

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """The rows of one SELECT in the driver's own words: on SQLite a tenth of the time.

        There this thread keeps a connection for it. Text that is not UTF-8 comes escaped. Raises:
        DatabaseError.
        """
        if not self.is_sqlite:
            return self.fetch(lambda connection: list(connection.exec_driver_sql(sql, parameters).fetchall()))
        with self._typed_errors():
            return fetch_all(self._own_connection(), sql, parameters)

    # --- one at a time --------------------------------------------------------------------------

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time: creation, migration, checkpoints. A thread may take it again."""
        if self.is_read_only:
            yield
        elif self.path is not None:
            with self._file_lock(self.path):
                yield
        else:
            with self._advisory_lock():
                yield

    @contextmanager
    def _file_lock(self, path: str) -> Iterator[None]:
        try:
            if not path.startswith((":memory:", "file:")):
                make_file(path, self.file_mode)
            with _file_lock(path).acquire(timeout=self.busy_timeout_seconds):
                yield
        except Timeout as error:
            raise self._busy(f"{path}.lock") from error
        except PermissionError as error:
            raise StoreReadOnly(path, error.strerror or str(error)) from error

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        if getattr(self._local, "is_locked", False):
            yield
            return
        with self.read() as connection:  # ends with its connection, however that ends
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
            self._local.is_locked = True
            try:
                yield
            finally:
                self._local.is_locked = False
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})")

    def _busy(self, *paths: str) -> DatabaseBusy:
        return DatabaseBusy(self.name, "locked", self.busy_timeout_seconds, lock_holders(*paths))

    # --- setting up and closing -----------------------------------------------------------------

    def use_write_ahead_log(self) -> None:
        """Set once, when the database is made: switching later ignores the busy timeout."""
        with self._typed_errors(), self._engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr]

    def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the file."""
        self._local = threading.local()
        if (
            not self._is_connected
            or self.path is None
            or not os.path.exists(self.path)
            or _is_read_only(self.path)
        ):
            self._engine.dispose()
            return
        with self.lock():
            self._engine.dispose()

    def _leave_connections(self) -> None:
        """In a child process: SQLite forbids to use its parent's, and Postgres would share a socket."""
        self._engine.dispose(close=False)
        self._local, self._is_connected = threading.local(), False

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """A connection that answers: one that was idle is asked first, and replaced if it is gone."""
        with self._engine.connect() as connection:
            used = connection.info.get("used", 0.0)
            if self._watchdog is not None and used and time.monotonic() - used > _PING_AFTER_SECONDS:
                _ping(connection)
            try:
                yield connection
            finally:
                if not connection.invalidated and not connection.closed:
                    connection.info["used"] = time.monotonic()

    def _own_connection(self) -> sqlite3.Connection:
        own: _Own | None = getattr(self._local, "own", None)
        if own is None:
            assert self.path is not None
            own = self._local.own = _Own(self._engine.raw_connection())
        return own.driver

    def _on_connect(self, connection: Any, _record: Any) -> None:
        self._is_connected = True
        if self.is_sqlite:
            connection.text_factory = ESCAPED
            connection.isolation_level = None  # transactions are begun below, not guessed by the driver
            if self.is_read_only:
                return
            connection.execute("PRAGMA synchronous=NORMAL")
            if NEEDS_LOCKED_CHECKPOINT:
                connection.execute("PRAGMA wal_autocheckpoint=0")
        elif connection.info.parameter_status("server_encoding") == "SQL_ASCII":  # others check all text
            escape_text(connection)

    def _checkpoint_if_long(self) -> None:
        if self.path is None or not NEEDS_LOCKED_CHECKPOINT:
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
        except (exc.DBAPIError, sqlite3.Error) as error:
            found = typed_error(self.name, error)
            if isinstance(found, DatabaseBusy) and self.path is not None:
                found = self._busy(f"{self.path}-shm", self.path)
            raise found from error
        except exc.TimeoutError as error:
            raise DatabaseBusy(self.name, "all connections are in use", 30.0) from error
        except exc.SQLAlchemyError as error:
            raise DatabaseError(self.name, str(error).partition("\n")[0]) from error


class _Own:
    """A thread's own connection; given back when the thread ends."""

    def __init__(self, fairy: Any) -> None:
        self.pid = os.getpid()
        self.driver: sqlite3.Connection = fairy.driver_connection
        self.driver.text_factory = str
        fairy.detach()

    def __del__(self) -> None:
        if self.pid == os.getpid():
            self.driver.close()


def _parsed(url: str | URL, password: str | None) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):  # whose texts quote the URL, or what may be a password
        raise ConfigError("database", "it is not a database URL") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed
    if backend not in ("postgresql", "postgres"):
        raise ConfigError("database", f"there is SQLite and Postgres, not {backend!r}")
    if not {"password", "sslpassword"}.isdisjoint(parsed.query):
        raise ConfigError("database", "a password in its query would show; set VALUESTORE_DATABASE_PASSWORD")
    try:
        import psycopg  # noqa: F401  # an optional driver
    except ImportError as error:
        raise ConfigError(
            "database", "Postgres needs a driver: pip install 'valuestore[postgres]'"
        ) from error
    return parsed.set(drivername="postgresql+psycopg", password=password or parsed.password)


def _is_read_only(path: str) -> bool:
    """Whether there is a database that this process can only read; a WAL needs a folder to write as well."""
    if not os.path.exists(path) or os.stat(path).st_size == 0:
        return False
    return not (os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK))


def _connect_read_only(path: str, timeout: float) -> sqlite3.Connection:
    """Without a log to read there is nobody who writes here, and SQLite needs no lock file beside it."""
    try:
        has_log = os.stat(f"{path}-wal").st_size > 0
    except FileNotFoundError:
        has_log = False
    uri = f"file:{quote(os.path.abspath(path))}?mode=ro{'' if has_log else '&immutable=1'}"
    return sqlite3.connect(uri, uri=True, timeout=timeout, check_same_thread=False)


@cache
def _file_lock(path: str) -> FileLock:
    """One lock for each file, which a thread may take again: a finalizer can run while it is held."""
    return FileLock(f"{path}.lock", mode=mode_of(path))


renew_after_fork(_file_lock.cache_clear)


def mode_of(path: str) -> int:
    """The mode of what lies beside a SQLite file, as SQLite itself has it: that of the file."""
    return stat.S_IMODE(os.stat(path).st_mode) & 0o666 if os.path.exists(path) else PRIVATE


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _ping(connection: Connection) -> None:
    """Ask whether the server is still there; if not, the next statement gets a new connection."""
    try:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
    except exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        connection.rollback()
