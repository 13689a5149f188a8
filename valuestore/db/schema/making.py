"""Making: the schema in an empty database, or in the place of a damaged one; what tables another has.

It needs SQLAlchemy, so it is imported where a database is made, migrated or refused (migrate.py).
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
import warnings
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import SetColumnComment, SetTableComment

from valuestore.db.engine.database import Database
from valuestore.db.ids import new_id, now
from valuestore.db.schema.kept import kept
from valuestore.db.schema.tables import metadata, repository
from valuestore.db.schema.views import create_statements
from valuestore.errors import ConfigError, DatabaseError, ValuestoreWarning
from valuestore.hashing import ALGORITHMS


def table_names(database: Database) -> set[str]:
    """The tables there are, whoever made them."""
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def create(database: Database, settings: dict[str, str], revision: str) -> None:
    """The schema of ``revision``, which is the newest, with the settings recorded in it."""
    if database.is_sqlite:
        database.rows("PRAGMA journal_mode=WAL")  # once: switching later ignores the busy timeout
    with database.write() as connection:
        if not database.is_sqlite:
            _check_encoding(connection)
        _limit_indexes(database.dialect_name)
        metadata.create_all(connection)
        for statement in create_statements(database.dialect_name):
            connection.execute(text(statement))
        version = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        connection.execute(text(version))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": revision})
        recorded = {"id": uuid.uuid4().hex, "created": str(now()), **settings}
        rows = [{"name": name, "value": value} for name, value in recorded.items()]
        connection.execute(repository.insert(), rows)


def _check_encoding(connection: Connection) -> None:
    """Raises: ConfigError if there is text that the database cannot hold."""
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding not in ("UTF8", "SQL_ASCII"):  # which takes all, as it is
        problem = f"this one has the encoding {encoding}, which does not take all text"
        raise ConfigError("database", f"{problem}; CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0")


_BESIDE = """
import os, shutil, sys
path, aside, whole = sys.argv[1:]
if whole:
    with open(path, "r+b") as damaged, open(whole, "rb") as header:
        damaged.write(header.read(100))
elif aside:
    for suffix in ("", "-wal"):
        if os.path.exists(path + suffix):
            shutil.copy(path + suffix, aside + suffix)
else:
    with open(path, "rb") as file:
        data = file.read()
    pages = [data[at] in (2, 5, 10, 13) for at in range(4096, len(data), 4096)]
    sys.exit(b"CREATE TABLE call_node" not in data or 2 * sum(pages) < len(pages))
"""
"""Copies the file, writes another's header, or says if it is ours, by most of its pages and our schema in it.
In a process of its own: to close the file here would end the locks that SQLite has on it."""


def begin_anew(database: Database, settings: dict[str, str], revision: str) -> None:
    """Empty a SQLite file that was found damaged, if it is ours; what was in it is kept beside it.

    Others may have it open: for them it is a transaction that replaces everything. What it recorded about
    itself stays, if that can be read. Nothing is done if another process did it, or if SQLite, asked for the
    first time, finds it whole after all.
    """
    path, mark, told = str(database.path), Path(f"{database.path}.damaged"), {}
    doubted = Path(f"{path}.doubted")
    with database.lock():
        if not mark.exists():
            return
        with suppress(DatabaseError):
            told = dict(database.rows(kept(database.dialect_name)["settings"]))
        if "id" not in told and _beside(path):
            mark.unlink()
            return
        with suppress(DatabaseError):
            is_doubted = "id" not in told or told.get("digest") not in ALGORITHMS or doubted.exists()
            if not is_doubted and database.rows("PRAGMA integrity_check(1)") == [("ok",)]:
                mark.replace(doubted)  # the second time it counts
                return
        aside, new = f"{mark}-{new_id()}", f"{path}.new"
        Path(new).unlink(missing_ok=True)
        _beside(path, aside)
        fresh = Database.at(new, file_mode=database.file_mode)
        digest = {"digest": told["digest"]} if told.get("digest") in ALGORITHMS else {}
        known = {"id": told["id"]} if "id" in told else {}
        create(fresh, {**settings, **digest, **known}, revision)
        fresh.close()
        with closing(sqlite3.connect(new)) as source:
            try:
                database.overwrite(source)
            except DatabaseError:  # not even its header can be read
                _beside(path, aside, new)
                database.overwrite(source)
        for passing in (new, f"{new}.lock", doubted, mark):
            Path(passing).unlink(missing_ok=True)
    recover = f"`sqlite3 {aside} .recover` gets out of it what can be read"
    problem = f"{path} was damaged, and is begun anew: what it knew is computed again; {recover}"
    warnings.warn(problem, ValuestoreWarning, stacklevel=5)


def _beside(path: str, aside: str = "", whole: str = "") -> int:
    return subprocess.run([sys.executable, "-c", _BESIDE, path, aside, whole]).returncode  # noqa: S603


def _limit_indexes(dialect_name: str) -> None:
    """Tell the dialect which indexes cover some rows alone."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if where := index.info["where"]:
                index.dialect_kwargs[f"{dialect_name}_where"] = text(where)


def set_comments(connection: Connection) -> None:
    """Comments hold no data: like the views, they are made anew with each migration."""
    if not connection.dialect.supports_comments:
        return
    for table in metadata.sorted_tables:
        connection.execute(SetTableComment(table))
        for column in table.columns:
            connection.execute(SetColumnComment(column))
