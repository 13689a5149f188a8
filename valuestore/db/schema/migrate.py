"""Schema versions: make a new database, recognise an old one, upgrade.

A new database gets the declared schema at once and is stamped (making.py). One that is as this code wants it
is recognised without SQLAlchemy; Alembic is imported only to upgrade an older one. Its revisions live in
``migrations/``, at the top of a checkout and inside the wheel.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestore.db.engine.database import Database
from valuestore.db.engine.failure import file_error
from valuestore.db.engine.sqlite import mode_of
from valuestore.db.schema.kept import kept
from valuestore.db.schema.views import create_statements, drop_statements
from valuestore.errors import (
    DatabaseDamaged,
    DatabaseError,
    NotARepository,
    SchemaTooNew,
    SchemaTooOld,
    ValuestoreError,
)
from valuestore.hashing import ALGORITHMS, DEFAULT_ALGORITHM
from valuestore.permissions import make_file

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD = "0009"
"""The revision that this code reads and writes."""

KNOWN = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every revision that this code can upgrade from, oldest first."""


def ensure(database: Database, settings: dict[str, str], *, is_own: bool = False) -> dict[str, str]:
    """Make the schema if the database is empty; return what the repository recorded about itself.

    ``settings`` are recorded when it is made, beside a fresh ``id``; an existing one keeps its own. Safe
    for any number of processes at once. A file that ``is_own``, and was found damaged, is begun anew first.
    Raises: SchemaTooOld, SchemaTooNew, NotARepository, DatabaseDamaged.
    """
    if is_own and os.path.exists(f"{database.path}.damaged"):
        _making().begin_anew(database, settings, HEAD)
    try:
        return _ensured(database, settings)
    except (DatabaseDamaged, NotARepository):
        if not is_own or database.is_read_only:
            raise
        database.mark_damaged()
    _making().begin_anew(database, settings, HEAD)
    return _ensured(database, settings)


def _ensured(database: Database, settings: dict[str, str]) -> dict[str, str]:
    if current(database) is None:
        with database.lock():
            if current(database) is None:
                _making().create(database, settings, HEAD)
    check(database)
    told = dict(database.rows(kept(database.dialect_name)["settings"]))
    if {"id", *settings} - told.keys() or told.get("digest", DEFAULT_ALGORITHM) not in ALGORITHMS:
        raise DatabaseDamaged(database.name, "what it says of itself is gone, or is not what was written")
    return told


def current(database: Database) -> str | None:
    """The schema's revision, or None for an empty or missing database.

    Raises: NotARepository if it holds tables of somebody else.
    """
    if database.path is not None:
        path = Path(database.path)
        if not path.exists() or path.stat().st_size == 0:
            return None
    statement = kept(database.dialect_name)["revision"]
    try:
        rows = database.rows(statement)
    except DatabaseError as error:
        if type(error) is not DatabaseError:  # not as if a table were missing
            raise
        if _is_empty(database):
            return None
        rows = database.rows(statement)  # somebody may have made it meanwhile
    if not rows or rows[0][0] is None:
        raise NotARepository(database.name, "its schema has no revision")
    return str(rows[0][0])


def _is_empty(database: Database) -> bool:
    """Whether nothing was made yet, or all was taken back. Raises: NotARepository."""
    names = _making().table_names(database)
    if names <= {"alembic_version"}:
        return True
    if not names >= {"alembic_version", "repository"}:
        some = ", ".join(sorted(names)[:3])
        raise NotARepository(database.name, f"it holds the tables {some} of something else")
    return False


def check(database: Database) -> None:
    """Refuse, without writing, a schema that this code does not read. Raises: SchemaTooOld, SchemaTooNew."""
    revision = current(database)
    if revision == HEAD:
        return
    if revision in KNOWN:
        raise SchemaTooOld(database.name, str(revision))
    if revision is None or not re.fullmatch(r"\d{4}", revision):
        raise DatabaseDamaged(database.name, f"its schema has the revision {revision!r}")
    raise SchemaTooNew(database.name, revision)


def upgrade(database: Database, target: str = "head") -> str:
    """Bring the schema to ``target``; a SQLite file is copied beside itself first. Returns the revision."""
    return _migrate(database, target, is_upgrade=True)


def downgrade(database: Database, target: str) -> str:
    """Take the schema back to an earlier revision, or to ``base``, after the same copy."""
    return _migrate(database, target, is_upgrade=False)


def _migrate(database: Database, target: str, *, is_upgrade: bool) -> str:
    from alembic import command  # slow to import, and needed here alone

    making = _making()
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
                connection.exec_driver_sql(statement)
            (command.upgrade if is_upgrade else command.downgrade)(config, target)
            if wanted == HEAD:  # views and comments are those of the declared schema
                for statement in create_statements(database.dialect_name):
                    connection.exec_driver_sql(statement)
                making.set_comments(connection)
    return current(database) or ""


def migrations_path() -> Path:
    """Where the revisions are: inside an installed wheel, else at the top of the checkout."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "_migrations", package.parent / "migrations"):
        if (candidate / "env.py").exists():
            return candidate
    raise DatabaseError(str(package), "the migrations are not installed; reinstall valuestore")


def _copy(database: Database, destination: Path) -> None:
    """Copy the file whole, or not at all: an interrupted copy has another name. Raises: DatabaseError."""
    unfinished = destination.with_name(f"{destination.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        make_file(unfinished, mode_of(str(database.path)))
        database.rows("VACUUM INTO ?", (str(unfinished),))  # outside a transaction
        unfinished.replace(destination)
    except OSError as error:
        raise error if isinstance(error, ValuestoreError) else file_error(str(destination), error) from error


def _alembic_config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _making() -> Any:
    """What SQLAlchemy is for, imported where it is."""
    from valuestore.db.schema import making

    return making
