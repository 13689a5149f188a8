"""Operations that a fault interrupts: what was there before, what is done, how all has to be afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from tests.db.schema.test_migrations import OLD_ROWS, old_database
from tests.faults import workflow
from tests.faults.found import Found
from valuestore import Repository
from valuestore.db import migrate
from valuestore.db.engine.database import Database

OLD, NEW = range(1, 8), range(11, 18)
"""A value of each kind that is there before, and that comes."""


@dataclass(frozen=True)
class Operation:
    """``check`` does it again, by a process that nothing fails, and looks at everything."""

    prepare: Callable[[Path], None]
    operate: Callable[[Path], None]
    check: Callable[[Path, Found, str], None]


def _nothing(folder: Path) -> None:
    folder.mkdir()


def _put_old(folder: Path) -> None:
    with Repository.open(folder) as repository:
        repository.put_many(map(workflow.value, OLD))
        workflow.run(repository, 2)


def _put(folder: Path) -> None:
    with Repository.open(folder) as repository:
        repository.put_many(map(workflow.value, NEW))


def _record(folder: Path) -> None:
    with Repository.open(folder) as repository:
        assert workflow.run(repository, 2, 20) == workflow.expected(2, 20)


def _check(folder: Path, found: Found, label: str) -> None:
    with found.catching("did not open, or read, or take again", label), Repository.open(folder) as repository:
        kept = {row[0] for row in repository.history.query("SELECT value_hash FROM value").rows}
        for value_hash in kept:
            with found.catching("a row without its payload", label):
                repository.archive.read(repository.find_value(value_hash))
        for number in (*OLD, *NEW):
            ref = repository.put(workflow.value(number))
            is_same = workflow.same(repository.get(ref.value_hash), workflow.value(number))
            found.check(is_same, "wrong", f"{label} {number}")
            had = number in NEW or ref.value_hash in kept or label.startswith(("make", "first"))
            found.check(had, "lost", f"{label} {number}")
        for start in (0, 20):
            right = workflow.run(repository, 2, start) == workflow.expected(2, start)
            found.check(right, "wrong", f"{label} run {start}")


def _old_revision(folder: Path) -> None:
    folder.mkdir()
    database = Database.at(folder / "valuestore.db")
    old_database(database)
    database.close()


def _migrate(folder: Path) -> None:
    database = Database.at(folder / "valuestore.db")
    try:
        migrate.upgrade(database)
    finally:
        database.close()


def _check_migrated(folder: Path, found: Found, label: str) -> None:
    with found.catching("did not upgrade", label):
        _migrate(folder)
        database = Database.at(folder / "valuestore.db")
        with database.read() as connection:
            for table in OLD_ROWS.keys() & {"job", "value", "tag"}:
                count = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
                found.check(count == OLD_ROWS[table].count("),") + 1, "lost", f"{label} {table} {count}")
        database.close()


OPERATIONS = {
    "make": Operation(_nothing, _put, _check),
    "put": Operation(_put_old, _put, _check),
    "record": Operation(_put_old, _record, _check),
    "migrate": Operation(_old_revision, _migrate, _check_migrated),
}
