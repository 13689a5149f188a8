"""Lookups: what is known of these calls, what is this value. Batched; no payload is touched."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from valuestore.db.engine.database import Database
from valuestore.db.record.rows import ref_of, task_numbers
from valuestore.db.schema.tables import value
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

_COLUMNS = ", ".join(f"v.{column.name}" for column in value.columns)
_ONE = f"SELECT {_COLUMNS} FROM value v WHERE v.value_hash = ?"  # noqa: S608
_KEYS = {
    "sqlite": "(SELECT value FROM json_each(?))",
    "postgresql": "(SELECT json_array_elements_text(%s::json))",
}
"""One parameter for all keys: the statement stays the same, however many there are."""


class Lookup:
    """Reads of the cache, one query per 500 keys."""

    def __init__(self, database: Database) -> None:
        self.database = database
        keys = _KEYS[database.dialect.name]
        self._by_evaluation = (
            f"SELECT e.eval_hash, {_COLUMNS} FROM evaluation e JOIN value v ON v.value_hash = e.value_hash "  # noqa: S608
            f"WHERE e.eval_hash IN {keys}"
        )
        self._by_hash = f"SELECT v.value_hash, {_COLUMNS} FROM value v WHERE v.value_hash IN {keys}"  # noqa: S608

    def evaluations(self, eval_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """What one step of each call gave, by its ``eval_hash``; unknown calls are absent."""
        return self._refs(self._by_evaluation, eval_hashes)

    def values(self, value_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """The refs of these values; unknown ones are absent."""
        return self._refs(self._by_hash, value_hashes)

    def value(self, value_hash: Digest) -> ValueRef | Miss:
        """The ref of one value, or ``MISS``."""
        if not self.database.is_sqlite:
            return self.values([value_hash]).get(value_hash, MISS)
        rows = self.database.rows(_ONE, (value_hash,))
        return ref_of(rows[0]) if rows else MISS

    def has_task(self, task_hash: Digest) -> bool:
        """Whether this version of a task was recorded before."""
        return self.database.fetch(lambda connection: bool(task_numbers(connection, [task_hash])))

    def _refs(self, sql: str, keys: Collection[Digest]) -> dict[Digest, ValueRef]:
        wanted = list(keys)
        found: dict[Digest, ValueRef] = {}
        for start in range(0, len(wanted), _BATCH):
            asked = (json.dumps(wanted[start : start + _BATCH]),)
            found.update([(row[0], ref_of(row[1:])) for row in self.database.rows(sql, asked)])
        return found
