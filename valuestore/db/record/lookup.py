"""Lookups: what is known of these calls, what is this value. Batched; no payload is touched."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from valuestore.db.engine.database import Database
from valuestore.db.record.rows import checksum, ref_of
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
            f"SELECT e.eval_hash, e.trace_hash, e.checksum, {_COLUMNS} FROM evaluation e "  # noqa: S608
            f"JOIN value v ON v.value_hash = e.value_hash WHERE e.eval_hash IN {keys}"
        )
        self._by_hash = f"SELECT {_COLUMNS} FROM value v WHERE v.value_hash IN {keys}"  # noqa: S608
        self._code = f"SELECT task_hash, name, digest FROM dependency WHERE task_hash IN {keys}"  # noqa: S608
        self._beside = f"SELECT task_hash, code_hash FROM task WHERE task_hash IN {keys}"  # noqa: S608

    def evaluations(self, eval_hashes: Collection[Digest]) -> list[tuple[Digest, Digest, ValueRef]]:
        """What one step of each call gave, by ``eval_hash`` and ``trace_hash``: one row for each trace.

        Unknown calls are absent, and rows that are not what they were written as.
        """
        return [
            (row[0], row[1], ref_of(row[3:]))
            for row in self._rows(self._by_evaluation, eval_hashes)
            if row[2] is None or row[2] == checksum((row[0] + row[1] + row[3]).encode())
        ]

    def values(self, value_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """The refs of these values; unknown ones are absent."""
        return {row[0]: ref_of(row) for row in self._rows(self._by_hash, value_hashes)}

    def code_sets(self, hashes: Collection[str]) -> dict[str, dict[str, Digest]]:
        """Names and digests of these sets of code; of one that is not whole, whatever there is."""
        found: dict[str, dict[str, Digest]] = {}
        for code_hash, name, digest in self._rows(self._code, hashes):
            found.setdefault(code_hash, {})[name] = digest
        return found

    def value(self, value_hash: Digest) -> ValueRef | Miss:
        """The ref of one value, or ``MISS``."""
        if not self.database.is_sqlite:
            return self.values([value_hash]).get(value_hash, MISS)
        rows = self.database.rows(_ONE, (value_hash,))
        return ref_of(rows[0]) if rows else MISS

    def code_beside(self, task_hash: Digest) -> str | Miss | None:
        """The digest of the code of this version of a task when it ran last; None if that is not known."""
        rows = self._rows(self._beside, [task_hash])
        return rows[0][1] if rows else MISS

    def _rows(self, sql: str, keys: Collection[str]) -> list[Any]:
        wanted = list(keys)
        found: list[Any] = []
        for start in range(0, len(wanted), _BATCH):
            found += self.database.rows(sql, (json.dumps(wanted[start : start + _BATCH]),))
        return found
