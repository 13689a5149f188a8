"""Failures of database drivers as errors of ours, those that another try may overcome, and damaged text."""

from __future__ import annotations

import operator
import os
import sqlite3
from typing import Any

from sqlalchemy import exc

from valuestore.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseError,
    DatabaseUnavailable,
    NotARepository,
    StoreReadOnly,
    ValuestoreError,
)

_CONFLICT = ("40001", "40P01")
"""Serialization failure, deadlock: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_LOST = ("57P01", "57P02", "57P03", "25P03")
_DENIED = ("25006", "42501")
_LATE = ("57014",)
_LOCKED = ("55P03",)
_REFUSED = ("authentication failed", "no password supplied", "does not exist")
_WHERE_PASSWORDS_ARE = (
    "the password comes from VALUESTORE_DATABASE_PASSWORD or the file database_password_file"
)


def typed_error(database: str, error: exc.DBAPIError | sqlite3.Error | sqlite3.Warning) -> ValuestoreError:
    """Our error for what a database driver raised; ``DatabaseBusy`` without telling who holds it."""
    if not isinstance(error, exc.DBAPIError):
        return _sqlite_error(database, str(error))
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_error(database, str(error.orig))
    return _postgres_error(database, error)


def is_transient(error: ValuestoreError) -> bool:
    """Whether doing the same again may succeed: a conflict with another writer, a lost connection."""
    return isinstance(error, DatabaseUnavailable)


def _sqlite_error(database: str, message: str) -> ValuestoreError:
    if "database is locked" in message or "database table is locked" in message:
        return DatabaseBusy(database, "locked")
    if "not a database" in message:
        return NotARepository(database, "the file is no SQLite database")
    if "malformed" in message or "disk image" in message:
        return DatabaseDamaged(database, message)
    if "readonly" in message or "unable to open" in message:
        return StoreReadOnly(database, message)
    return DatabaseError(database, _first_line(message))


def _postgres_error(database: str, error: exc.DBAPIError) -> ValuestoreError:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    message = _first_line(str(error.orig))
    if state in _LOCKED:
        return DatabaseBusy(database, "locked")
    if state in _DENIED:
        return StoreReadOnly(database, message)
    if any(refusal in message for refusal in _REFUSED):
        return DatabaseError(database, f"{message}; {_WHERE_PASSWORDS_ARE}")
    if state in _LATE:
        return DatabaseError(database, f"{message}; statement_timeout_seconds in the settings allows more")
    is_lost = error.connection_invalidated or state.startswith("08") or state in _LOST
    if is_lost or state in _CONFLICT or (not state and isinstance(error, exc.OperationalError)):
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
# lost, and whoever needs it finds that it does not fit. Postgres takes none but in SQL_ASCII.


ESCAPED = operator.methodcaller("decode", "utf-8", "backslashreplace")
"""Bytes to text."""


def fetch_all(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
    """The rows of a query, on a connection that escapes no text before it meets some: that takes longer."""
    try:
        return connection.execute(sql, parameters).fetchall()
    except sqlite3.OperationalError as error:
        if "not decode to UTF-8" not in str(error):
            raise
    connection.text_factory = ESCAPED
    return connection.execute(sql, parameters).fetchall()


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
