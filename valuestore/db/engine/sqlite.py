"""SQLite files: where one is, how it is opened and set up, and whether it can be written."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

from valuestore.db.engine.failure import ESCAPED
from valuestore.lazy import renew_after_fork
from valuestore.locks import FileLock
from valuestore.permissions import PRIVATE

_FILE_URL = "sqlite:///"
_MEMORY = re.compile(r"sqlite(\+pysqlite)?://(/:memory:)?(\?.*)?")
NEEDS_LOCKED_CHECKPOINT = sqlite3.sqlite_version_info < (3, 51, 3)
"""Before 3.51.3 a checkpoint can race a writer that resets the log: https://sqlite.org/wal.html#walresetbug"""


def is_in_memory(url: object) -> bool:
    """Whether it is the URL of a database that ends with who opens it."""
    return not isinstance(url, Path) and _MEMORY.fullmatch(str(url)) is not None


def path_in(url: object) -> str | None:
    """The path itself, or the one in the URL of a plain file; None for what SQLAlchemy has to read."""
    if isinstance(url, Path):
        return os.fspath(url)
    if not isinstance(url, str):
        return None
    path = url.removeprefix(_FILE_URL)
    is_plain = url.startswith(_FILE_URL) and path and "?" not in path
    return unquote(path, errors="surrogateescape") if is_plain and not path.startswith("file:") else None


def url_of(path: str) -> str:
    """The URL of a file, as SQLAlchemy writes it: the same one, whatever path leads there."""
    return f"{_FILE_URL}{quote(os.fsencode(os.path.realpath(path)), safe=' +/')}"


def is_read_only(path: str) -> bool:
    """Whether there is a database that this process can only read; a WAL needs a folder to write as well."""
    if not os.path.exists(path) or os.stat(path).st_size == 0:
        return False
    return not (os.access(path, os.W_OK) and os.access(os.path.dirname(path) or ".", os.W_OK))


def connect(
    path: str, timeout_seconds: float, *, read_only: bool, durable: bool = False
) -> sqlite3.Connection:
    """A connection whose transactions are begun by hand, not guessed by the driver; text comes escaped."""
    place = uri_to_read(path, is_alone=True) if read_only else path
    connection = sqlite3.connect(place, uri=read_only, timeout=timeout_seconds, check_same_thread=False)
    connection.text_factory = ESCAPED
    connection.isolation_level = None
    if not read_only:
        try:  # the first statement is what finds out that the file is no database
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("PRAGMA cache_spill=0")  # a page that changes twice would be written twice
            connection.execute("PRAGMA journal_size_limit=0")  # a log that begins anew is short again
            if NEEDS_LOCKED_CHECKPOINT:
                connection.execute("PRAGMA wal_autocheckpoint=0")
        except BaseException:
            connection.close()
            raise
    return connection


def uri_to_read(path: str, *, is_alone: bool) -> str:
    """The URI of a file that is only read; ``is_alone``: without files beside it, where nobody writes.

    Without a log to read that is so, and SQLite needs no lock file then.
    """
    with suppress(FileNotFoundError):
        is_alone = is_alone and os.stat(f"{path}-wal").st_size == 0
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro"
    return f"{uri}&immutable=1" if is_alone else uri


@cache
def file_lock(path: str) -> FileLock:
    """One lock for each file, which a thread may take again: a finalizer can run while it is held."""
    return FileLock(f"{path}.lock", mode_of(path))


renew_after_fork(file_lock.cache_clear)


def mode_of(path: str) -> int:
    """The mode of what lies beside a SQLite file, as SQLite itself has it: that of the file."""
    return stat.S_IMODE(os.stat(path).st_mode) & 0o666 if os.path.exists(path) else PRIVATE
