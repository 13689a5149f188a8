"""Lookups: what is known of these calls, what is this value. Batched; no payload is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, select

from valuestore.db.engine.database import Database
from valuestore.db.record.batch import task_numbers
from valuestore.db.record.values import ref_of
from valuestore.db.schema.tables import evaluation, value
from valuestore.hashing import Digest
from valuestore.values.archive import ValueRef

_BATCH = 500


class Miss:
    """The type of ``MISS``: nothing is known. None would not do, since None is a value."""

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS: Final = Miss()

_columns = tuple(value.columns)
_ONE = f"SELECT {', '.join(column.name for column in _columns)} FROM value WHERE value_hash = ?"  # noqa: S608
_by_evaluation = (
    select(evaluation.c.eval_hash, *_columns)
    .join_from(evaluation, value, evaluation.c.value_hash == value.c.value_hash)
    .where(evaluation.c.eval_hash.in_(bindparam("wanted", expanding=True)))
)
_by_hash = select(value.c.value_hash, *_columns).where(
    value.c.value_hash.in_(bindparam("wanted", expanding=True))
)


class Lookup:
    """Reads of the cache, one query per 500 keys."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def evaluations(self, eval_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """What one step of each call gave, by its ``eval_hash``; unknown calls are absent."""
        return dict(self._refs(_by_evaluation, eval_hashes))

    def values(self, value_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """The refs of these values; unknown ones are absent."""
        return dict(self._refs(_by_hash, value_hashes))

    def value(self, value_hash: Digest) -> ValueRef | Miss:
        """The ref of one value, or ``MISS``."""
        if not self.database.is_sqlite:
            return self.values([value_hash]).get(value_hash, MISS)
        rows = self.database.rows(_ONE, (value_hash,))
        return ref_of(rows[0]) if rows else MISS

    def has_task(self, task_hash: Digest) -> bool:
        """Whether this version of a task was recorded before."""
        return self.database.fetch(lambda connection: bool(task_numbers(connection, [task_hash])))

    def _refs(self, statement: Select[Any], keys: Collection[Digest]) -> Iterator[tuple[Digest, ValueRef]]:
        wanted = list(keys)
        if not wanted:
            return

        def read(connection: Connection) -> list[Any]:
            found: list[Any] = []
            for start in range(0, len(wanted), _BATCH):
                found += connection.execute(statement, {"wanted": wanted[start : start + _BATCH]})
            return found

        for row in self.database.fetch(read):
            yield row[0], ref_of(row[1:])
