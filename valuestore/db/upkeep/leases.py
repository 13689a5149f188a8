"""Leases: which calls are being run, and by which execution, so that no other runs them at the same time.

A lease is as alive as the execution that holds it: the recorder says every few seconds that this one runs
(docs/decisions/0027-once.md). It is ended by the transaction that records what the call gave (batch.py), so
who finds no lease finds the result. Used by the thread of one run (scheduler/waiting.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from valuestore.db.engine.database import Database
from valuestore.db.record.lookup import Lookup
from valuestore.db.record.recorder import BEAT_SECONDS, running_here
from valuestore.db.record.rows import ExecutionRow
from valuestore.db.record.writer import Writer
from valuestore.db.schema.views import CRASHED_AFTER_SECONDS
from valuestore.hashing import Digest
from valuestore.lazy import is_known_dead, this_process

PATIENCE_SECONDS = 1.0
"""How long to wait at once for a database that is locked: so long a Ctrl-C is not seen."""
_JUMP_SECONDS = CRASHED_AFTER_SECONDS / 6
_DOUBT_SECONDS = 2 * BEAT_SECONDS
"""After that, whoever is alive has been heard."""


class LeaseRow(NamedTuple):
    """A row of ``call_lease``."""

    call_key: str
    job_id: str
    execution_id: str
    process: str
    task_hash: Digest
    started: int


class Holder(NamedTuple):
    """Who holds a lease, and what is known of it by the clock of the database, ``now``."""

    call_key: str
    job_id: str
    execution_id: str
    process: str
    status: str | None
    updated: int | None
    now: int


class Leases:
    """Those of one execution, begun as its row says, in bodies of those ``around``."""

    def __init__(self, database: Database, row: ExecutionRow, around: Iterable[str] = ()) -> None:
        self._database = database
        self._ask = Lookup(database).rows
        self._row = row
        self._own = {row.execution_id, *around}
        self._is_announced = False
        self._offset: float | None = None
        self._doubts_until = 0.0

    def take(self, rows: Sequence[LeaseRow], asked: Collection[str]) -> tuple[dict[str, Holder], set[str]]:
        """Take these leases but those that others hold, who are told by key, in one transaction.

        Those of dead holders are taken over. Also tells which of the ``asked`` have evaluations by now, and
        perhaps had none when they were looked up. Raises: DatabaseBusy after a second; DatabaseError;
        StoreReadOnly.
        """
        began = time.monotonic()

        def work(writer: Writer) -> tuple[dict[str, Holder], set[str]]:
            if time.monotonic() - began > PATIENCE_SECONDS / 2:  # nobody could say that he is alive
                self._doubt()
            if not self._is_announced:  # before it holds anything; alive by the clock of the database
                writer.insert("execution", [self._row])
                writer.change_all("beat", [self._row.execution_id])
            others: dict[str, Holder] = {}
            if writer.insert("call_lease", rows) < len(rows):
                keys = [row.call_key for row in rows]
                others, dead = self._told_apart(writer.rows, keys)
                if dead:
                    writer.change_all("end leases", {holder.execution_id for holder in dead.values()})
                    writer.insert("call_lease", [row for row in rows if row.call_key in dead])
                    others, _ = self._told_apart(writer.rows, keys)
            known = writer.rows("evaluated by now", asked)
            self._look_at_clock(max(known)[0])
            return others, {eval_hash for _, eval_hash in known}

        found = Writer.transact(self._database, work, patience=PATIENCE_SECONDS)
        self._is_announced = True
        return found

    def held(self, keys: Collection[str]) -> dict[str, Holder]:
        """Those of the leases that others hold who are alive. Raises: DatabaseError."""
        return self._told_apart(self._ask, keys)[0]

    def _told_apart(
        self, ask: Callable[[str, Collection[str]], list[Any]], keys: Collection[str]
    ) -> tuple[dict[str, Holder], dict[str, Holder]]:
        """The living who hold some of these, and the dead; neither this execution nor one around it."""
        holders = [Holder(*row) for row in ask("lease holders", keys)]
        others = [holder for holder in holders if holder.execution_id not in self._own]
        living = {holder.call_key: holder for holder in others if self._is_alive(holder)}
        return living, {holder.call_key: holder for holder in others if holder.call_key not in living}

    def _is_alive(self, holder: Holder) -> bool:
        """Whether it was heard of lately; in the future means before the clock was put back."""
        if holder.status != "running" or holder.updated is None or is_known_dead(holder.process):
            return False
        if holder.process == this_process() and holder.execution_id not in running_here:
            return False
        self._look_at_clock(holder.now)
        silent = abs(holder.now - holder.updated) / 1e6
        return silent <= CRASHED_AFTER_SECONDS or time.monotonic() < self._doubts_until

    def _look_at_clock(self, now: int) -> None:
        """Signs of life look old after the clock of the database has jumped, or all was asleep."""
        offset = now / 1e6 - time.monotonic()
        if self._offset is not None and abs(offset - self._offset) > _JUMP_SECONDS:
            self._doubt()
        self._offset = offset

    def _doubt(self) -> None:
        """Take all that are to be running for alive, until they had the time to say so."""
        self._doubts_until = time.monotonic() + _DOUBT_SECONDS
