"""Handle states: which states of handles there were, which came from which, and which are still current.

A state is current until a task is given one that it came from: then the outside is no longer as it was when
the state was recorded, and everything below is rolled back. Called by the scheduler alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from valuestore.db.engine.database import Database
from valuestore.db.record.rows import insert
from valuestore.db.schema.tables import handle, handle_edge
from valuestore.hashing import Digest

_BATCH = 500


class HandleRow(NamedTuple):
    """A row of ``handle``."""

    value_hash: Digest
    name: str
    class_name: str
    key: str
    is_valid: bool
    created: int


class HandleEdge(NamedTuple):
    """A row of ``handle_edge``: a step from one state to the next."""

    parent_hash: Digest
    child_hash: Digest


def _below(entered: Any) -> Any:
    """All states that came from these, themselves excluded; a state is visited once."""
    first = select(handle_edge.c.child_hash.label("value_hash")).where(handle_edge.c.parent_hash.in_(entered))
    below = first.cte("below", recursive=True)
    return below.union(
        select(handle_edge.c.child_hash).where(handle_edge.c.parent_hash == below.c.value_hash)
    )


_wanted: Any = bindparam("wanted", expanding=True)
_roll_back = (
    update(handle)
    .where(handle.c.value_hash.in_(select(_below(_wanted).c.value_hash)), handle.c.is_valid)
    .values(is_valid=False)
)
_make_current = (
    update(handle).where(handle.c.value_hash.in_(_wanted), ~handle.c.is_valid).values(is_valid=True)
)
_states = select(handle.c.value_hash, handle.c.is_valid).where(handle.c.value_hash.in_(_wanted))


class HandleStates:
    """The record of handles in one database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def valid(self, value_hashes: Collection[Digest]) -> set[Digest]:
        """Those of the states that are recorded and still current. One query per 500."""
        return self.database.fetch(
            lambda connection: {state for state, is_valid in _ask(connection, value_hashes) if is_valid}
        )

    def advance(
        self,
        reached: Sequence[HandleRow],
        edges: Sequence[HandleEdge],
        *,
        known: Sequence[HandleRow] = (),
        entered: Collection[Digest] = (),
        needed: Collection[Digest] = (),
    ) -> set[Digest]:
        """Record steps and roll back, in one transaction; those of the ``needed`` that are then not current.

        ``reached`` are states that are current from now on, ``known`` states of before, whose row is left as
        it is if there is one. Everything below the states ``entered`` is rolled back.
        """

        def step(connection: Connection) -> set[Digest]:
            insert(connection, handle, known)
            _reach(connection, reached)
            insert(connection, handle_edge, edges)
            for batch in _batches(entered):
                connection.execute(_roll_back, {"wanted": batch})
            return {state for state, is_valid in _ask(connection, needed) if not is_valid}

        return self.database.transact(step)


def _ask(connection: Connection, value_hashes: Collection[Digest]) -> Iterator[tuple[Digest, bool]]:
    for batch in _batches(value_hashes):
        for value_hash, is_valid in connection.execute(_states, {"wanted": batch}):
            yield value_hash, bool(is_valid)


def _batches(value_hashes: Collection[Digest]) -> Iterator[list[Digest]]:
    ordered = sorted(set(value_hashes))
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def _reach(connection: Connection, rows: Sequence[HandleRow]) -> None:
    """States that are current again if they were not; they exist already, or are made."""
    insert(connection, handle, rows)
    for batch in _batches([row.value_hash for row in rows]):
        connection.execute(_make_current, {"wanted": batch})
