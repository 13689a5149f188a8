"""Failures of database drivers as errors of ours, those that another try may overcome, and damaged text."""

from __future__ import annotations

import errno
import operator
import os
import sqlite3
import sys
from typing import Any

from valuestore.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseError,
    DatabaseFull,
    DatabaseUnavailable,
    NotARepository,
    StoreReadOnly,
    ValuestoreError,
)

_OURS_TO_PASS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_FOREIGN = ("sqlite3", "psycopg", "psycopg_binary", "psycopg_c", "sqlalchemy", "alembic")
_BORDER = "valuestore.db.engine."
_LEAVES = ("rows", "table", "change", "insert", "_run", "connect")
"""Functions there that call nothing but a driver."""

# SQLite's primary result codes: https://www.sqlite.org/rescode.html
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_CLOSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)

# SQLSTATE, or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
_AGAIN = ("08", "40001", "40P01", "57P01", "57P02", "57P03", "57P05", "25P03", "53200", "53300", "58030")
_DENIED = ("25006", "42501")
_REFUSED = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "not permitted to log in",
    '" does not exist',
    "unrecognized configuration parameter",
    "invalid value for parameter",
)
"""Of a session that was refused: of those libpq tells the text alone."""
_WHERE_PASSWORDS_ARE = (
    "the password comes from VALUESTORE_DATABASE_PASSWORD or the file database_password_file"
)


def typed_error(database: str, error: BaseException, path: str | None = None) -> ValuestoreError | None:
    """Our error for whatever a driver, SQLAlchemy above it or Alembic raised; None for what is none's.

    ``DatabaseBusy`` comes without telling who holds it. None of them is imported to find out.
    """
    if isinstance(error, ValuestoreError):
        return error
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error | sqlite3.Warning):
        return _sqlite_error(database, cause, path)
    if (psycopg := sys.modules.get("psycopg")) and isinstance(cause, psycopg.Error):
        is_lost = getattr(error, "connection_invalidated", False)
        return _postgres_error(database, cause, isinstance(cause, psycopg.OperationalError), is_lost=is_lost)
    if isinstance(cause, UnicodeDecodeError):  # the message of sqlite3 about a damaged schema
        return DatabaseDamaged(database, "its schema cannot be read")
    if (exc := sys.modules.get("sqlalchemy.exc")) and isinstance(error, exc.TimeoutError):
        return DatabaseBusy(database, "all connections are in use", 30.0)
    operation = None if isinstance(error, _OURS_TO_PASS) else _foreign_operation(error)
    if operation is None:
        return None
    return DatabaseError(database, f"{operation}: {type(error).__name__}: {_first_line(str(error))}")


def _foreign_operation(error: BaseException) -> str | None:
    """What failed of a driver or what is above it; None if it was none of them that raised the error.

    Whose error it is, its traceback tells: theirs, if one of them was called after all that is ours.
    """
    operation = None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        called = trace.tb_frame.f_code.co_name
        if name.partition(".")[0] in _FOREIGN:
            operation = operation or called
        elif name.startswith(_BORDER) and (
            trace.tb_next is None or (name.endswith(("driver", "sqlite")) and called in _LEAVES)
        ):
            operation = called
        elif name.startswith("valuestore."):
            operation = None
        trace = trace.tb_next
    return operation


def covered_interrupt(error: BaseException, before: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that a driver covered with an error of its own; none that was handled ``before``."""
    under = error.__context__
    while under is not None and under is not before:
        if isinstance(under, KeyboardInterrupt):
            return under
        under = under.__context__
    return None


def is_transient(error: ValuestoreError) -> bool:
    """Whether doing the same again may succeed: a conflict with another writer, a lost connection."""
    return isinstance(error, DatabaseUnavailable)


def _sqlite_error(database: str, error: sqlite3.Error | sqlite3.Warning, path: str | None) -> ValuestoreError:
    message = _first_line(str(error))
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_CANTOPEN:  # for which reason, it does not say
        try:
            os.close(os.open(os.devnull if path is None or not os.path.isdir(path) else path, os.O_WRONLY))
        except OSError as reason:
            return file_error(database, reason)
    if code in _BUSY:
        return DatabaseBusy(database, "locked")
    if code == sqlite3.SQLITE_NOTADB:
        return NotARepository(database, "the file is no SQLite database")
    if code == sqlite3.SQLITE_CORRUPT:
        return DatabaseDamaged(database, message)
    if code in _CLOSED:
        return StoreReadOnly(database, message)
    if code == sqlite3.SQLITE_FULL:
        return DatabaseFull(database, message)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_SCHEMA):
        return DatabaseUnavailable(database, message)
    return DatabaseError(database, message)


def file_error(place: str, error: OSError) -> ValuestoreError:
    """Our error for what the system says of the file of a database, or of one beside it."""
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnly(place, reason)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DatabaseFull(place, reason)
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        return NotARepository(place, f"{reason}, and no file")
    if error.errno == errno.ENOENT:
        return DatabaseError(place, reason)
    return DatabaseUnavailable(place, reason)


def _postgres_error(database: str, error: Any, is_operational: bool, *, is_lost: bool) -> ValuestoreError:
    state = str(error.sqlstate or "")
    message = _first_line(str(error))
    if state == "55P03":
        return DatabaseBusy(database, "locked")
    if state in _DENIED:
        return StoreReadOnly(database, message)
    if state == "53100":
        return DatabaseFull(database, message)
    if state.startswith("XX"):
        return DatabaseDamaged(database, message)
    if state == "57014":
        return DatabaseError(database, f"{message}; statement_timeout_seconds in the settings allows more")
    if state.startswith("28") or (
        not state and is_operational and any(words in message for words in _REFUSED)
    ):
        is_about_it = state == "28P01" or "password" in message
        return DatabaseError(database, f"{message}; {_WHERE_PASSWORDS_ARE}" if is_about_it else message)
    if is_lost or state.startswith(_AGAIN) or (not state and is_operational):
        return DatabaseUnavailable(database, message)
    return DatabaseError(database, message)


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]


# --- Holders: which processes hold a lock on a file, for a message about a database that is locked.
#
# Read from ``/proc/locks``, so on Linux alone. The file itself is not opened: closing any descriptor of it
# would drop the locks that SQLite holds on it in this process (POSIX advisory locks).


def lock_holders(*paths: str) -> tuple[int, ...]:
    """The processes that hold a write lock on one of these files; empty if none or not known."""
    wanted = set()
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        wanted.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            lines = [line.split() for line in locks]
    except OSError:
        return ()
    held = {int(line[4]) for line in lines if len(line) >= 8 and line[3] == "WRITE" and line[5] in wanted}
    return tuple(sorted(held))


# --- Damaged text: bytes that are not UTF-8. It comes escaped, so that it fails no query; what it was is
# lost, and whoever needs it finds that it does not fit. On Postgres, where the database has no encoding.


ESCAPED = operator.methodcaller("decode", "utf-8", "backslashreplace")
"""Bytes to text."""


def escape_text(connection: Any) -> None:
    """Let a connection of psycopg give text as ``ESCAPED`` does."""
    from psycopg.adapt import Loader  # an optional driver

    class Escaping(Loader):
        def load(self, data: Any) -> str:
            return str(ESCAPED(bytes(data)))

    connection.execute("SET client_encoding TO SQL_ASCII")
    connection.commit()
    for name in ("text", "varchar", "bpchar", "name"):
        connection.adapters.register_loader(name, Escaping)
