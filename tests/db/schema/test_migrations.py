"""Schema versions: declared and migrated schema are one, upgrades lead back, the future is refused (I14)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from valuestore.db.engine.database import Database
from valuestore.db.schema import migrate
from valuestore.db.schema.tables import metadata
from valuestore.errors import (
    DatabaseDamaged,
    DatabaseError,
    NotARepository,
    SchemaTooNew,
    SchemaTooOld,
)
from valuestore.repository import Repository


def tables(database):
    """Name -> normalised description of every table, index and view."""
    if not database.is_sqlite:
        return postgres_tables(database)
    with database.read() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            name: ordered(" ".join(sql.replace('"', "").split()))
            for name, sql in rows
            if name not in ("alembic_version", "sqlite_sequence")
        }


def ordered(sql):
    """The statement with its columns sorted: one that was added later stands last."""
    if not sql.startswith("CREATE TABLE"):
        return sql
    head, _, rest = sql.partition("(")
    body, _, tail = rest.rpartition(")")
    return head, sorted(part.strip() for part in re.split(r",(?![^(]*\))", body)), tail


def postgres_tables(database):
    columns = text(
        "SELECT table_name, column_name, data_type, is_nullable, character_maximum_length, column_default, "
        "collation_name, col_description(table_name::regclass, ordinal_position) "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    )
    rest = text(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' "
        "UNION ALL SELECT relname || ' comment', obj_description(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with database.read() as connection:
        found = {name: definition for name, definition in connection.execute(rest) if "alembic" not in name}
        for row in connection.execute(columns):
            if row[0] != "alembic_version":
                found.setdefault(row[0], [])
                found[row[0]] = (
                    [*found[row[0]], tuple(row)] if isinstance(found[row[0]], list) else found[row[0]]
                )
        return found


def names(database):
    with database.read() as connection:
        return inspect(connection).get_table_names()


@pytest.fixture
def sqlite_database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'valuestore.db'}")
    yield database
    database.close()


@pytest.fixture
def other_postgres_url(postgres_server):
    with postgres_server.database() as url:
        yield url


def stamp(database, revision):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_there_is_one_head_and_the_code_knows_it():
    scripts = ScriptDirectory(str(migrate.migrations_path()))
    assert scripts.get_heads() == [migrate.HEAD]
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(migrate.KNOWN)


@pytest.mark.filterwarnings(  # the index of an expression, on SQLite: ``tables`` compares its text
    "ignore:Skipped unsupported reflection:sqlalchemy.exc.SAWarning",
    "ignore:autogenerate skipping metadata-specified expression-based index:UserWarning",
)
def test_migrated_schema_is_the_declared_one(tmp_path, database, request):
    migrate.ensure(database, {})
    if database.is_sqlite:
        migrated = Database(f"sqlite:///{tmp_path / 'migrated.db'}")
    else:
        server = request.getfixturevalue("postgres_server")
        migrated = Database(request.getfixturevalue("other_postgres_url"))
        assert server.url
    assert migrate.upgrade(migrated) == migrate.HEAD
    assert tables(migrated) == tables(database)
    with migrated.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    migrated.close()


def test_downgrade_and_upgrade_lead_back(database):
    migrate.upgrade(database)
    before = tables(database)
    migrate.downgrade(database, "base")
    assert tables(database) == {}
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
    before = state(tmp_path, database)
    with pytest.raises(SchemaTooNew, match="pip install"):
        migrate.ensure(database, {})
    with pytest.raises(SchemaTooNew):
        migrate.upgrade(database)
    database.close()
    assert state(tmp_path, database) == before


def state(tmp_path, database):
    """The bytes of a SQLite file; what a Postgres database holds."""
    if database.is_sqlite:
        return (tmp_path / "valuestore.db").read_bytes()
    return tables(database), migrate.current(database)


def test_older_schema_names_the_command_that_upgrades_it(database, monkeypatch):
    migrate.ensure(database, {})
    monkeypatch.setattr(migrate, "HEAD", "9999")
    with pytest.raises(SchemaTooOld, match="valuestore db upgrade"):
        migrate.ensure(database, {})


def test_database_of_something_else_is_left_alone(tmp_path, database):
    with database.write() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(NotARepository, match="recipes"):
        migrate.ensure(database, {})
    assert set(names(database)) == {"recipes"}


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be one" * 30])
def test_file_that_is_no_database_is_named(tmp_path, sqlite_database, content):
    (tmp_path / "valuestore.db").write_bytes(content)
    with pytest.raises(NotARepository, match="valuestore.db"):
        migrate.ensure(sqlite_database, {})
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


def test_empty_file_becomes_a_repository(tmp_path, sqlite_database):
    (tmp_path / "valuestore.db").touch()
    assert migrate.ensure(sqlite_database, {})["id"]


def test_three_processes_that_open_first_find_one_schema(tmp_path, database_url):
    code = textwrap.dedent(
        """
        import sys
        from valuestore import Repository
        sys.stdin.readline()
        with Repository.open(sys.argv[1], database=sys.argv[3]) as repository:
            repository.put(int(sys.argv[2]))
            print(repository.repository_id)
        """
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(number), database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for opener in openers:
        opener.stdin.write("\n")
        opener.stdin.flush()
    finished = [opener.communicate(timeout=120) for opener in openers]
    assert [error for _, error in finished if error] == []
    assert len({output for output, _ in finished}) == 1
    with Repository.open(tmp_path, database=database_url) as repository:
        registry = repository.archive.registry
        assert [repository.get(registry.hash(number)) for number in range(3)] == list(range(3))


def test_wheel_and_checkout_know_where_the_migrations_are():
    assert (migrate.migrations_path() / "versions").is_dir()


def test_package_without_a_checkout_upgrades_an_old_database(tmp_path, database, database_url):
    """The layout of the wheel: the revisions lie inside the package (pyproject.toml, force-include)."""
    old_database(database)
    database.close()
    site = tmp_path / "site"
    checkout = migrate.migrations_path().parent
    shutil.copytree(
        checkout / "valuestore", site / "valuestore", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(migrate.migrations_path(), site / "valuestore" / "_migrations")
    code = (
        "import sys; from valuestore.db import migrate; from valuestore.db.engine.database import Database;"
        "d = Database(sys.argv[1]); print(migrate.migrations_path(), migrate.upgrade(d)); d.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database_url],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == f"{site / 'valuestore' / '_migrations'} {migrate.HEAD}\n", done.stderr


# --- upgrades with data -----------------------------------------------------------------------------

OLD_ROWS = {
    "task": "('t1', 'ns.leaf', NULL, 'def leaf(): ...'), ('t2', 'ns.main', '3', '')",
    "value": "('v1', 'builtins.int', 'plain', 'p1', 3, NULL, '1'), "
    "('v2', 'builtins.int', 'plain', 'p2', 3, NULL, '2')",
    "payload": "('p1', 3), ('p2', 3)",
    "evaluation": "('e1', 't1', 'a1', 'v1')",
    "call_node": "('c1', 't1', 'a1', 'v1'), ('c2', 't2', 'a2', 'v2')",
    "call_edge": "('c2', 0, 'c1')",
    "argument": "('a1', 0, 'x', 'v2')",
    "execution": "('x1', 'main()', 'done', 10, 20), ('x2', 'main()', 'running', 30, NULL)",
    "job": "('j1', 'x1', NULL, 't2', 'c2', NULL, 'done', 10, 20, NULL, NULL), "
    "('j2', 'x1', 'j1', 't1', NULL, 'a9', 'failed', 11, 12, 'E: it''s', 'trace'), "
    "('j3', 'gone', NULL, 'gone', NULL, 'a9', 'failed', 5, 6, NULL, NULL)",
    "tag": "('g1', 'task', 't1', 'k', '1', true, 5), ('g2', 'task', 't1', 'k', '1', true, 6), "
    "('g3', 'job', 'j1', 'k', '\"x\"', false, 7)",
}


def old_database(database):
    """A database as the first revision made it, with a row of everything."""
    migrate.upgrade(database, "0001")
    with database.write() as connection:
        for table, rows in OLD_ROWS.items():
            connection.execute(text(f"INSERT INTO {table} VALUES {rows}"))


def rows_of(database, sql):
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def test_upgrade_keeps_the_data(tmp_path, database):
    old_database(database)
    with pytest.raises(SchemaTooOld):
        migrate.ensure(database, {})
    migrate.upgrade(database)
    jobs = "SELECT job_id, execution_id, task, status, call_hash, args_hash, error FROM jobs ORDER BY job_id"
    assert rows_of(database, jobs) == [
        ("j1", "x1", "ns.main", "done", "c2", "a2", None),
        ("j2", "x1", "ns.leaf", "failed", None, "a9", "E: it's"),
        ("j3", "gone", "(unknown)", "failed", None, "a9", None),
    ]
    edges = (
        "SELECT p.call_hash, e.position, c.call_hash, p.replayable FROM call_edge e "
        "JOIN call_node p ON p.call_no = e.parent_no JOIN call_node c ON c.call_no = e.child_no"
    )
    assert rows_of(database, edges) == [("c2", 0, "c1", False)]
    assert rows_of(database, "SELECT eval_hash, value_hash FROM evaluation") == [("e1", "v1")]
    assert [row[0] for row in rows_of(database, "SELECT tag_id FROM tag WHERE ended IS NULL")] == ["g1"]
    assert len(rows_of(database, "SELECT DISTINCT value_digest FROM tag WHERE value_digest <> ''")) == 2
    counts = "SELECT task, status, jobs, seconds FROM task_counts ORDER BY task, status"
    expected = [
        ("(unknown)", "failed", 1, 1e-6),
        ("ns.leaf", "failed", 1, 1e-6),
        ("ns.main", "done", 1, 1e-5),
    ]
    assert [(*row[:3], float(row[3])) for row in rows_of(database, counts)] == expected
    if database.is_sqlite:
        assert (tmp_path / "valuestore.db.0001").exists()


def test_downgrade_keeps_the_data_too(database):
    old_database(database)
    before = {table: rows_of(database, f"SELECT * FROM {table} ORDER BY 1, 2") for table in OLD_ROWS}
    migrate.upgrade(database)
    migrate.downgrade(database, "0001")
    after = {table: rows_of(database, f"SELECT * FROM {table} ORDER BY 1, 2") for table in OLD_ROWS}
    assert after.pop("evaluation") == [("e1", "", "", "v1")]
    assert before.pop("evaluation")
    for table in ("value", "payload", "call_node", "call_edge", "argument"):
        assert after[table] == before[table]
    assert set(before["job"]) == set(after["job"])
    assert set(before["execution"]) < set(after["execution"])


def test_upgrade_that_is_killed_in_the_middle_starts_anew(tmp_path, database, database_url):
    old_database(database)
    database.close()
    code = textwrap.dedent(
        """
        import os, sys
        from alembic import op
        from valuestore.db import migrate
        from valuestore.db.engine.database import Database
        real = op.rename_table
        def rename_table(name, *rest):
            if name == sys.argv[2]:
                os.kill(os.getpid(), 9)
            return real(name, *rest)
        op.rename_table = rename_table
        migrate.upgrade(Database(sys.argv[1]))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, database_url, "tag"], timeout=60)
    assert done.returncode == -9
    assert migrate.current(database) == "0001"
    assert migrate.upgrade(database) == migrate.HEAD
    assert len(rows_of(database, "SELECT * FROM job")) == 3


def test_three_processes_upgrade_at_once(database, database_url):
    old_database(database)
    code = (
        "import sys; from valuestore.db import migrate; from valuestore.db.engine.database import Database;"
        "sys.stdin.readline(); d = Database(sys.argv[1]); print(migrate.upgrade(d)); d.close()"
    )
    upgraders = [
        subprocess.Popen(
            [sys.executable, "-c", code, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for upgrader in upgraders:
        upgrader.stdin.write("\n")
        upgrader.stdin.flush()
    assert [upgrader.communicate(timeout=120) for upgrader in upgraders] == [(f"{migrate.HEAD}\n", "")] * 3
    assert len(rows_of(database, "SELECT * FROM job")) == 3
