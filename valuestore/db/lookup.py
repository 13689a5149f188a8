"""Lookups: what is known of these calls, what is this value. Batched; no payload is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Select, bindparam, select

from valuestore.db.engine import Database
from valuestore.db.schema import evaluation, value
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

_columns = (
    value.c.value_hash,
    value.c.type_name,
    value.c.codec,
    value.c.payload_digest,
    value.c.size,
    value.c.inline,
    value.c.preview,
)
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
        return self.values([value_hash]).get(value_hash, MISS)

    def _refs(self, statement: Select[Any], keys: Collection[Digest]) -> Iterator[tuple[Digest, ValueRef]]:
        wanted = list(keys)
        if not wanted:
            return
        with self.database.read() as connection:
            for start in range(0, len(wanted), _BATCH):
                for row in connection.execute(statement, {"wanted": wanted[start : start + _BATCH]}):
                    yield _keyed_ref(row)


def _keyed_ref(row: Any) -> tuple[Digest, ValueRef]:
    key, value_hash, type_name, codec, payload_digest, size, inline, preview = row
    return key, ValueRef(value_hash, type_name, codec, payload_digest, size, inline, preview)
