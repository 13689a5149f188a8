"""Database: the connections to one metadata database, and its errors as ours.

Two ways lead to it. ``ask`` and ``change`` run kept statements on the driver (driver.py): that is what runs
do, on SQLite without SQLAlchemy. ``fetch``, ``transact``, ``read`` and ``write`` give a connection of
SQLAlchemy, which is imported then: for making and migrating it, and for queries that are put together.

On SQLite writers ``BEGIN IMMEDIATE``, wait for each other, and copy the log back under a file lock. Postgres
has deadlines, and work that is done again when a connection is lost. It knows no table.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from valuestore.db.engine import sqlite
from valuestore.db.engine.driver import Driver, Parameters, PostgresDriver, SqliteDriver, Table
from valuestore.db.engine.failure import (
    covered_interrupt,
    file_error,
    is_transient,
    lock_holders,
    typed_error,
)
from valuestore.db.engine.sqlite import is_read_only as _is_read_only
from valuestore.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseFull,
    StoreReadOnly,
    ValuestoreError,
)
from valuestore.lazy import renew_after_fork
from valuestore.permissions import PRIVATE, PassingFolder, make_file

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from valuestore.db.engine.deadline import Watchdog

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 60.0
STATEMENT_TIMEOUT_SECONDS = 60.0
_RETRY_SECONDS = 15.0
"""How long work is tried again after lost connections, deadlocks and serialization failures."""
_PING_AFTER_SECONDS = 1.0
_ADVISORY_LOCK = 0x76616C7565  # any number that others are unlikely to use
_LOCK_PAUSE_SECONDS = 0.05
_CHECKPOINT_BYTES = 2 << 20
_READERS_PAUSE_SECONDS = 1.0
"""After a reader kept the log from beginning anew: how long it is not waited for."""


class Database:
    """One database by URL: ``sqlite:////data/.valuestore/valuestore.db``, ``postgresql://user@host/name``.

    Thread-safe. A connection is used by the process that made it alone: after a fork the child makes its
    own. ``password`` is kept out of ``name`` and of every message. ``is_read_only``: a SQLite file that
    this process cannot write, or whose folder it cannot; it is read as it is. A SQLite file that is made
    gets ``file_mode``, and what lies beside it (log, lock, copies) the mode of the file. If ``durable``,
    what is committed to it survives power loss; a server says that itself. One in memory
    (``sqlite:///:memory:``) is a file that is gone with it, so that threads and children share it.
    """

    def __init__(
        self,
        url: str | URL | Path,
        *,
        password: str | None = None,
        busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS,
        statement_timeout_seconds: float = STATEMENT_TIMEOUT_SECONDS,
        file_mode: int = PRIVATE,
        durable: bool = False,
    ) -> None:
        self._passing = PassingFolder() if sqlite.is_in_memory(url) else None
        url = url if self._passing is None else self._passing.path / "valuestore.db"
        file = sqlite.path_in(url)
        if file is None:
            self.url = _pool().parsed(url, password)
        self.is_sqlite = file is not None or self.url.get_backend_name() == "sqlite"
        self.dialect_name = "sqlite" if self.is_sqlite else "postgresql"
        self.path = file or self.url.database if self.is_sqlite else None
        if self.path:  # each thread opens the file when it asks, perhaps from another folder
            self.path = os.path.abspath(self.path)
        self.name = sqlite.url_of(file) if file else self.url.render_as_string(hide_password=True)
        self.busy_timeout_seconds = busy_timeout_seconds
        self.statement_timeout_seconds = statement_timeout_seconds
        self.file_mode = file_mode
        self.durable = durable
        self.is_read_only = self.path is not None and _is_read_only(self.path)
        self._is_connected = False  # by this process
        self._unwritable = ""
        self.log_bytes = 0  # of the write-ahead log
        self._next_checkpoint = 0.0
        self._local = threading.local()
        renew_after_fork(self._leave_connections)

    @classmethod
    def at(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """The SQLite database in the file at ``path``, whatever characters it has."""
        return cls(Path(path), **settings)

    @cached_property
    def url(self) -> URL:
        """As SQLAlchemy has it."""
        url: URL = _pool().URL.create("sqlite", database=self.path)
        return url

    # --- reading and writing ------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading. Raises: DatabaseError."""
        with self._typed_errors(), self._connect() as connection:
            level = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
            yield connection.execution_options(**level)

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
                if limits := connection.info.get("limits"):  # behind a pooler
                    writing.exec_driver_sql(limits)
                if not self.is_sqlite and not is_bounded:
                    writing.exec_driver_sql("SET LOCAL statement_timeout = 0")
                yield writing
        self._checkpoint_if_long()

    def check_writable(self) -> None:
        """Raises: StoreReadOnly for a file that can only be read; DatabaseFull without room for a log."""
        if self.is_read_only:
            raise StoreReadOnly(str(self.path), "this process may only read it")
        if self._unwritable:  # when it was opened; perhaps there is room by now
            self._close()
            self._unwritable = ""
            self._own()
            if self._unwritable:
                raise DatabaseFull(self.name, f"no log can be written beside it ({self._unwritable})")

    def transact(self, work: Callable[[Connection], T], *, patience: float | None = None) -> T:
        """Do ``work`` in one write transaction, all of it again if the database could not take it.

        ``work`` has to be harmless when it is done twice: whether a commit arrived whose connection was
        lost is not known, so it is done again. ``patience``: for how many seconds, if for fewer than usual.
        Raises: as ``write``.
        """
        return self._again(self.write, work, patience)

    def fetch(self, work: Callable[[Connection], T]) -> T:
        """Read what ``work`` reads, once more if the connection was lost. Raises: DatabaseError."""
        return self._again(self.read, work)

    def _again(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection], T],
        patience: float | None = None,
    ) -> T:
        most = _RETRY_SECONDS if patience is None else patience
        give_up = time.monotonic() + min(_RETRY_SECONDS, self.busy_timeout_seconds, most)
        pause = 0.05
        while True:
            try:
                with connect() as connection:
                    return work(connection)
            except ValuestoreError as error:
                if not is_transient(error) or time.monotonic() + pause > give_up:
                    raise
            except KeyboardInterrupt:  # perhaps between two frames of what cleans up
                if "_engine" in self.__dict__:
                    _pool().let_go(self._engine)
                raise
            time.sleep(pause * (0.5 + os.urandom(1)[0] / 256))  # spreads writers
            pause = min(2 * pause, 2.0)

    # --- on the driver --------------------------------------------------------------------------

    def ask(self, work: Callable[[Driver], T]) -> T:
        """As ``fetch``, on the driver. On SQLite each thread keeps a connection for it."""
        if not self.is_sqlite:
            return self.fetch(lambda connection: work(self._driver_of(connection)))
        with self._typed_errors():
            return work(self._own())

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """The rows of one SELECT in the driver's own words. Raises: DatabaseError."""
        return self.ask(lambda driver: driver.rows(sql, parameters))

    def table(self, sql: str, parameters: Parameters = ()) -> Table:
        """The same, with the names of the columns. Raises: DatabaseError."""
        return self.ask(lambda driver: driver.table(sql, parameters))

    def change(self, work: Callable[[Driver], T], *, patience: float | None = None) -> T:
        """As ``transact``, on the driver. ``patience`` is how long it waits for the lock of SQLite, too."""
        if not self.is_sqlite:
            return self.transact(lambda connection: work(self._driver_of(connection)), patience=patience)
        self.check_writable()
        with self._typed_errors():
            own = self._own()
            seconds = self.busy_timeout_seconds
            done = own.written(work, None if patience is None else min(patience, seconds), seconds)
        self._checkpoint_if_long()
        return done

    def _own(self) -> SqliteDriver:
        own: SqliteDriver | None = getattr(self._local, "own", None)
        if own is None:
            own = self._local.own = SqliteDriver(self._open())
        return own

    def _driver_of(self, connection: Connection) -> PostgresDriver:
        return PostgresDriver(connection, self._watchdog)

    # --- one at a time --------------------------------------------------------------------------

    def lock(self) -> AbstractContextManager[None]:
        """One process at a time: creation, migration, checkpoints. A thread may take it again."""
        if self.is_read_only:
            return nullcontext()
        return self._advisory_lock() if self.path is None else self._file_lock(self.path)

    @contextmanager
    def _file_lock(self, path: str) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                make_file(path, self.file_mode)
                stack.enter_context(sqlite.file_lock(path).held(self.busy_timeout_seconds))
            except TimeoutError as error:
                raise self._busy(f"{path}.lock") from error
            except OSError as error:
                raise file_error(error.filename or path, error) from error
            yield

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        if getattr(self._local, "is_locked", False):
            yield
            return
        give_up = time.monotonic() + self.busy_timeout_seconds
        while True:
            with self.write() as connection:  # it ends with the transaction, however that ends
                connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
                if connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_ADVISORY_LOCK})").scalar():
                    self._local.is_locked = True
                    try:
                        yield
                    finally:
                        self._local.is_locked = False
                    return
            if time.monotonic() > give_up:
                raise self._busy()
            time.sleep(_LOCK_PAUSE_SECONDS)  # without a connection: a pooler may have few

    def _busy(self, *paths: str) -> DatabaseBusy:
        return DatabaseBusy(self.name, "locked", self.busy_timeout_seconds, lock_holders(*paths))

    # --- setting up and closing -----------------------------------------------------------------

    def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the file."""
        may_write = self.path is not None and os.path.exists(self.path) and not _is_read_only(self.path)
        if self._is_connected and may_write:
            with self.lock():
                self._close()
        else:
            self._close()
        if self._passing is not None:
            self._passing.remove()

    def _close(self) -> None:
        self._local = threading.local()
        if "_engine" in self.__dict__:
            self._engine.dispose()

    def _leave_connections(self) -> None:
        """In a child process: SQLite forbids to use its parent's, and Postgres would share a socket."""
        if "_engine" in self.__dict__:
            self._engine.dispose(close=False)
        self._local, self._is_connected = threading.local(), False

    @cached_property
    def _watchdog(self) -> Watchdog:
        watchdog: Watchdog = _pool().Watchdog(1.1 * self.statement_timeout_seconds + 1)
        return watchdog

    @cached_property
    def _engine(self) -> Engine:
        engine: Engine
        if self.is_sqlite:
            engine = _pool().sqlite_engine(self.url, self._open)
        else:
            seconds = self.statement_timeout_seconds, self.busy_timeout_seconds
            engine = _pool().postgres_engine(self.url, self._watchdog, *seconds)
        return engine

    def _open(self) -> sqlite3.Connection:
        """Another connection to the file; where a full disk has no room for a log, one to read it."""
        self._is_connected = True
        path, seconds = str(self.path), self.busy_timeout_seconds
        try:
            return sqlite.connect(path, seconds, read_only=self.is_read_only, durable=self.durable)
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if self.is_read_only or code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL):
                raise
            self._unwritable = str(error)
            return sqlite.connect(path, seconds, read_only=True)

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """A connection that answers: one that was idle is asked first, and replaced if it is gone."""
        with self._engine.connect() as connection:
            used = connection.info.get("used", 0.0)
            if not self.is_sqlite and used and time.monotonic() - used > _PING_AFTER_SECONDS:
                _pool().ping(connection)
            try:
                yield connection
            finally:
                if not connection.invalidated and not connection.closed:
                    connection.info["used"] = time.monotonic()

    def _checkpoint_if_long(self) -> None:
        """Copy a long log back and have it begin anew, for which readers are waited for.

        Who reads on keeps what was written since. What was written is committed, whatever becomes of this.
        """
        if self.path is None:
            return
        with suppress(OSError, ValuestoreError, sqlite3.Error):  # no log, or somebody else is at it
            self.log_bytes = size = os.stat(f"{self.path}-wal").st_size
            if size < _CHECKPOINT_BYTES or time.monotonic() < self._next_checkpoint:
                return
            with sqlite.file_lock(self.path).held(0):
                if self._own().checkpoint(self.busy_timeout_seconds):
                    self._next_checkpoint = time.monotonic() + _READERS_PAUSE_SECONDS

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        before = sys.exc_info()[1]
        try:
            yield
        except GeneratorExit:  # interrupted before its block began
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and "_engine" in self.__dict__:
                _pool().let_go(self._engine)  # a traceback may hold on to a connection, and that to a lock
            if (interrupt := covered_interrupt(error, before)) is not None:
                raise interrupt from None
            found = typed_error(self.name, error, self.path)
            if found is None or found is error:
                raise
            if isinstance(found, DatabaseBusy) and found.args[1] == "locked" and self.path is not None:
                found = self._busy(f"{self.path}-shm", self.path)
            if isinstance(found, DatabaseDamaged):
                self.mark_damaged()
            raise found from error

    def overwrite(self, source: sqlite3.Connection) -> None:
        """Put another database into this file, in one transaction. Raises: DatabaseError."""
        seconds = self.busy_timeout_seconds  # and no more statements: a damaged file may fail each
        with self._typed_errors(), closing(sqlite3.connect(str(self.path), timeout=seconds)) as target:
            source.backup(target)

    def mark_damaged(self) -> None:
        """Leave a note for who opens it next (schema/making.py)."""
        if self.path is not None and not self.is_read_only:
            with suppress(OSError):
                make_file(f"{self.path}.damaged", self.file_mode)


def _pool() -> Any:
    """What SQLAlchemy is for, imported where it is."""
    from valuestore.db.engine import pool

    return pool
