"""Handle states: which states of handles there were, which came from which, and which are still current.

A state is current until a task is given one that it came from: then the outside is no longer as it was when
the state was recorded, and everything below is rolled back. Called by the scheduler alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from valuestore.db.engine.database import Database
from valuestore.db.record.lookup import Lookup
from valuestore.db.record.writer import Writer
from valuestore.hashing import Digest


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


class HandleStates:
    """The record of handles in one database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lookup = Lookup(database)

    def valid(self, value_hashes: Collection[Digest]) -> set[Digest]:
        """Those of the states that are recorded and still current. One query per 500."""
        return {state for state, is_valid in self._lookup.rows("handle states", value_hashes) if is_valid}

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

        def step(writer: Writer) -> set[Digest]:
            writer.insert("handle", known)
            writer.insert("handle", reached)
            writer.change_all("make current", [row.value_hash for row in reached])
            writer.insert("handle_edge", edges)
            writer.change_all("roll back", entered)
            return {state for state, is_valid in writer.rows("handle states", needed) if not is_valid}

        return Writer.transact(self.database, step)
