"""Schema versions: make a new database, recognise an old one, upgrade.

A new database gets the declared schema at once and is stamped; Alembic is imported only to upgrade an
older one. Its revisions live in ``migrations/``, at the top of a checkout and inside the wheel.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import SetColumnComment, SetTableComment

from valuestore.db.engine.database import Database, mode_of
from valuestore.db.schema.tables import metadata, repository
from valuestore.db.schema.views import create_statements, drop_statements
from valuestore.errors import DatabaseError, NotARepository, SchemaTooNew, SchemaTooOld
from valuestore.permissions import make_file

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The revision that this code reads and writes."""

KNOWN = ("0001", "0002", "0003")
"""Every revision that this code can upgrade from, oldest first."""


def ensure(database: Database, settings: dict[str, str]) -> dict[str, str]:
    """Make the schema if the database is empty; return what the repository recorded about itself.

    ``settings`` are recorded when it is made, beside a fresh ``id``; an existing one keeps its own. Safe
    for any number of processes at once. Raises: SchemaTooOld, SchemaTooNew, NotARepository.
    """
    if current(database) is None:
        with database.lock():
            if current(database) is None:
                _create(database, settings)
    check(database)
    with database.read() as connection:
        return {row.name: row.value for row in connection.execute(repository.select())}


def current(database: Database) -> str | None:
    """The schema's revision, or None for an empty or missing database.

    Raises: NotARepository if it holds tables of somebody else.
    """
    if database.path is not None:
        path = Path(database.path)
        if not path.exists() or path.stat().st_size == 0:
            return None
    with database.read() as connection:
        names = set(inspect(connection).get_table_names())
        if names <= {"alembic_version"}:  # nothing was made yet, or all was taken back
            return None
        if "alembic_version" not in names or repository.name not in names:
            some = ", ".join(sorted(names)[:3])
            raise NotARepository(database.name, f"it holds the tables {some} of something else")
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision is None:
        raise NotARepository(database.name, "its schema has no revision")
    return str(revision)


def check(database: Database) -> None:
    """Refuse, without writing, a schema that this code does not read. Raises: SchemaTooOld, SchemaTooNew."""
    revision = current(database)
    if revision == HEAD:
        return
    if revision in KNOWN:
        raise SchemaTooOld(database.name, str(revision))
    raise SchemaTooNew(database.name, str(revision))


def upgrade(database: Database, target: str = "head") -> str:
    """Bring the schema to ``target``; a SQLite file is copied beside itself first. Returns the revision."""
    return _migrate(database, target, is_upgrade=True)


def downgrade(database: Database, target: str) -> str:
    """Take the schema back to an earlier revision, or to ``base``, after the same copy."""
    return _migrate(database, target, is_upgrade=False)


def _migrate(database: Database, target: str, *, is_upgrade: bool) -> str:
    from alembic import command  # slow to import, and needed here alone

    with database.lock():
        before = current(database)
        if before is not None and before not in KNOWN:
            raise SchemaTooNew(database.name, before)
        wanted = HEAD if target == "head" else target
        if before == wanted:
            return before
        if before is not None and database.path is not None:
            _copy(database, Path(f"{database.path}.{before}"))
        with database.write(is_bounded=False) as connection:
            config = _alembic_config(connection)
            for statement in drop_statements():
                connection.execute(text(statement))
            (command.upgrade if is_upgrade else command.downgrade)(config, target)
            if wanted == HEAD:  # views and comments are those of the declared schema
                for statement in create_statements(database.dialect.name):
                    connection.execute(text(statement))
                _set_comments(connection)
    return current(database) or ""


def migrations_path() -> Path:
    """Where the revisions are: inside an installed wheel, else at the top of the checkout."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "_migrations", package.parent / "migrations"):
        if (candidate / "env.py").exists():
            return candidate
    raise DatabaseError(str(package), "the migrations are not installed; reinstall valuestore")


def _create(database: Database, settings: dict[str, str]) -> None:
    if database.is_sqlite:
        database.use_write_ahead_log()
    with database.write() as connection:
        _limit_indexes(database.dialect.name)
        metadata.create_all(connection)
        for statement in create_statements(database.dialect.name):
            connection.execute(text(statement))
        connection.execute(
            text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        recorded = {"id": uuid.uuid4().hex, "created": str(time.time_ns() // 1000), **settings}
        connection.execute(
            repository.insert(), [{"name": name, "value": value} for name, value in recorded.items()]
        )


def _limit_indexes(dialect_name: str) -> None:
    """Tell the dialect which indexes cover some rows alone."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if where := index.info.get("where"):
                index.dialect_kwargs[f"{dialect_name}_where"] = text(where)


def _set_comments(connection: Connection) -> None:
    """Comments hold no data: like the views, they are made anew with each migration."""
    if not connection.dialect.supports_comments:
        return
    for table in metadata.sorted_tables:
        connection.execute(SetTableComment(table))
        for column in table.columns:
            connection.execute(SetColumnComment(column))


def _copy(database: Database, destination: Path) -> None:
    """Copy the file whole, or not at all: a copy that was interrupted has another name."""
    unfinished = destination.with_name(f"{destination.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    make_file(unfinished, mode_of(str(database.path)))
    database.rows("VACUUM INTO ?", (str(unfinished),))  # outside a transaction
    unfinished.replace(destination)


def _alembic_config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
