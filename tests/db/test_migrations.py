"""Schema versions: declared and migrated schema are one, upgrades lead back, the future is refused (I14)."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from valuestore.db import migrate
from valuestore.db.engine import Database
from valuestore.db.schema import metadata
from valuestore.errors import (
    DatabaseDamaged,
    DatabaseError,
    NotARepository,
    SchemaTooNew,
    SchemaTooOld,
)
from valuestore.repository import Repository


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'valuestore.db'}")
    yield database
    database.close()


def tables(database):
    """Name -> normalised CREATE statement of every table, index and view."""
    with database.read() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            name: " ".join(sql.replace('"', "").split())
            for name, sql in rows
            if name not in ("alembic_version", "sqlite_sequence")
        }


def stamp(database, revision):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_there_is_one_head_and_the_code_knows_it():
    scripts = ScriptDirectory(str(migrate.migrations_path()))
    assert scripts.get_heads() == [migrate.HEAD]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(migrate.KNOWN)


def test_migrated_schema_is_the_declared_one(tmp_path, database):
    migrate.ensure(database, {})
    migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    assert migrate.upgrade(migrated) == migrate.HEAD
    assert tables(migrated) == tables(database)
    with migrated.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrated.close()


def test_downgrade_and_upgrade_lead_back(database):
    migrate.upgrade(database)
    before = tables(database)
    with database.lock(), database.write() as connection:
        for statement in migrate.drop_statements():
            connection.execute(text(statement))
        command.downgrade(migrate._alembic_config(connection), "base")
    assert tables(database) == {}
    with database.write() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    migrate.upgrade(database)
    assert tables(database) == before


def test_opening_twice_keeps_the_repository_s_identity(database):
    first = migrate.ensure(database, {"digest": "xxh3-128"})
    assert migrate.ensure(database, {"digest": "blake3-256"}) == first
    assert len(first["id"]) == 32


def test_schema_of_the_future_is_refused_without_writing(tmp_path, database):
    migrate.ensure(database, {})
    stamp(database, "9999")
    database.close()
    before = (tmp_path / "valuestore.db").read_bytes()
    with pytest.raises(SchemaTooNew, match="pip install"):
        migrate.ensure(database, {})
    with pytest.raises(SchemaTooNew):
        migrate.upgrade(database)
    database.close()
    assert (tmp_path / "valuestore.db").read_bytes() == before


def test_older_schema_names_the_command_that_upgrades_it(database, monkeypatch):
    migrate.ensure(database, {})
    monkeypatch.setattr(migrate, "HEAD", "0003")
    with pytest.raises(SchemaTooOld, match="valuestore db upgrade"):
        migrate.ensure(database, {})


def test_database_of_something_else_is_left_alone(tmp_path, database):
    with database.write() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(NotARepository, match="recipes"):
        migrate.ensure(database, {})
    assert set(tables(database)) == {"recipes"}


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 30])
def test_file_that_is_no_database_is_named(tmp_path, database, content):
    (tmp_path / "valuestore.db").write_bytes(content)
    with pytest.raises(NotARepository, match="valuestore.db"):
        migrate.ensure(database, {})
    assert (tmp_path / "valuestore.db").read_bytes() == content


def test_damaged_database_is_named(tmp_path):
    with Repository.open(tmp_path) as repository:
        for i in range(2000):
            repository.put(f"value {i}" * 10)
    path = tmp_path / ".valuestore" / "valuestore.db"
    data = bytearray(path.read_bytes())
    data[4096:-4096] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises((DatabaseDamaged, DatabaseError)), Repository.open(tmp_path) as repository:
        for i in range(2000):
            repository.get(repository.archive.registry.hash(f"value {i}" * 10))


def test_empty_file_becomes_a_repository(tmp_path, database):
    (tmp_path / "valuestore.db").touch()
    assert migrate.ensure(database, {})["id"]


def test_sixteen_processes_that_open_first_find_one_schema(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from valuestore import Repository
        sys.stdin.readline()
        with Repository.open(sys.argv[1]) as repository:
            repository.put(int(sys.argv[2]))
            print(repository.repository_id)
        """
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(16)
    ]
    for opener in openers:
        opener.stdin.write("\n")
        opener.stdin.flush()
    finished = [opener.communicate(timeout=120) for opener in openers]
    assert [error for _, error in finished if error] == []
    assert len({output for output, _ in finished}) == 1
    with Repository.open(tmp_path) as repository:
        registry = repository.archive.registry
        assert [repository.get(registry.hash(number)) for number in range(16)] == list(range(16))


def test_wheel_and_checkout_know_where_the_migrations_are():
    assert (migrate.migrations_path() / "versions").is_dir()
