"""Sweep: deletes what marks have left over, in steps, each a short transaction.

What points goes before what it points to, and rows before payloads: who is killed leaves nothing that leads
nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from valuestore.db.upkeep.roots import PIN, Named, is_alive
from valuestore.db.upkeep.session import Session
from valuestore.db.upkeep.turn import Turn
from valuestore.errors import StoreError
from valuestore.hashing import Digest
from valuestore.stores.content.store import ContentStore

BATCH = 1000
"""Payloads of a transaction: files go inside it."""
ROWS = 5000
"""Rows of one: a fifth of a second. Digests lie anywhere, so of fewer each would cost a page more."""

_TAGS = "DELETE FROM tag WHERE entity = '{entity}' AND entity_id IN ({which})"
_CALLS = "SELECT call_hash FROM call_node WHERE call_no IN (SELECT k FROM part_call)"
_TASKS = "SELECT task_no FROM task WHERE task_hash IN (SELECT k FROM part_code)"
_RUNS = "SELECT execution_id FROM execution WHERE execution_no IN (SELECT k FROM part_run)"
_NAMED = "SELECT payload_digest FROM payload WHERE payload_digest IN ({listed})"
_UNCOUNT = (
    "INSERT INTO task_count (task_no, status, lane, jobs, micros) "
    "SELECT task_no, status, execution_no % 16, -count(*), -CAST(SUM(ended - started) AS BIGINT) "
    "FROM job WHERE job_id IN (SELECT k FROM part_job) GROUP BY task_no, status, execution_no % 16 "
    "ON CONFLICT (task_no, status, lane) DO UPDATE SET jobs = task_count.jobs + excluded.jobs, "
    "micros = task_count.micros + excluded.micros"
)

Keyed = tuple[str, str]
"""A table, and its column with the key of what goes."""


class Sweep:
    """By the tables ``gone_...`` and ``unnamed`` of the first turn; ``others`` share its payload store."""

    def __init__(self, turns: Sequence[Turn], payloads: ContentStore, named: Named) -> None:
        self._turn, *self._others = turns
        self._session, self._marks = self._turn.session, self._turn.marks
        self._payloads = payloads
        self._named = named
        self.problems: list[str] = []

    def steps(self) -> Iterator[Callable[[], None]]:
        """What is deleted one after the other."""
        edges, parts = ("call_edge", "parent_no", "child_no"), ("subvalue", "parent_hash", "child_hash")
        sources = ("argument_source", "call_no"), ("argument_source", "source_no")
        owned = [(table, "value_hash") for table in ("file", "signature", "held", "value")]
        of_calls, of_values = _tags("call", _CALLS), _tags("value", "SELECT k FROM part_value")
        of_code = _tags("task", "SELECT k FROM part_code")
        uncount = f"DELETE FROM task_count WHERE task_no IN ({_TASKS})"
        code = ("dependency", "task_hash"), ("task", "task_hash")
        of_names = _tags("entry", "SELECT k FROM part_entry")
        yield lambda: self._rows("entry", [("entry_version", "entry_id")], of_names)
        yield lambda: self._rows("eval", [("evaluation", "eval_hash")])
        yield self._runs
        yield lambda: self._tree("call", edges, [*sources, ("call_node", "call_no")], of_calls)
        yield lambda: self._rows("args", [("argument", "args_hash")])
        yield lambda: self._rows("sets", [("set_member", "set_hash")])
        yield lambda: self._tree("value", parts, owned, of_values)
        yield lambda: self._rows("code", code, of_code, uncount)
        yield lambda: self._files("gone_payload", is_named=True)
        yield lambda: self._files("unnamed", is_named=False)

    def _take(self, kind: str, source: str, most: int = 0) -> bool:
        """Have ``part_...`` hold the next to go, but for what is kept by now; whether there were any."""
        change, part, most = self._session.change, f"part_{kind}", most or ROWS
        change(f"DELETE FROM {part}")
        if not self._marks.put(part, f"SELECT k FROM {source} ORDER BY k LIMIT {most}"):
            return False
        change(f"DELETE FROM {source} WHERE k IN (SELECT k FROM {part})")
        change(f"DELETE FROM {part} WHERE EXISTS (SELECT 1 FROM keep_{kind} o WHERE o.k = {part}.k)")
        return True

    def _delete(self, kind: str, tables: Sequence[Keyed], *before: str) -> None:
        for sql in before:
            self._session.change(sql)
        for table, key in tables:
            self._session.change(f"DELETE FROM {table} WHERE {key} IN (SELECT k FROM part_{kind})")

    def _rows(self, kind: str, tables: Sequence[Keyed], *before: str) -> None:
        is_left = True
        while is_left:
            with self._turn.step():
                if is_left := self._take(kind, f"gone_{kind}"):
                    self._delete(kind, tables, *before)

    def _tree(self, kind: str, edge: tuple[str, str, str], tables: Sequence[Keyed], *before: str) -> None:
        """The same, of things that hold others: only when nothing that is there holds them."""
        put, (table, parent, child) = self._marks.put, edge
        is_free = f"NOT EXISTS (SELECT 1 FROM {table} e WHERE e.{child} = g.k)"
        held = f"SELECT {child} FROM {table} WHERE {parent} IN (SELECT k FROM part_{kind})"
        put(f"free_{kind}", f"SELECT g.k FROM gone_{kind} g WHERE {is_free}")
        is_left = True
        while is_left:
            with self._turn.step():
                if is_left := self._take(kind, f"free_{kind}"):
                    self._session.change(f"DELETE FROM below_{kind}")
                    put(f"below_{kind}", held)
                    self._delete(kind, [(table, parent), *tables], *before)
                    below = f"SELECT g.k FROM below_{kind} b JOIN gone_{kind} g ON g.k = b.k"
                    put(f"free_{kind}", f"{below} WHERE {is_free}")

    # --- executions ---------------------------------------------------------------------------------

    def _runs(self) -> None:
        """Executions with their jobs, called ones before those that called them."""
        session, put = self._session, self._marks.put
        jobs = "SELECT job_id FROM job WHERE execution_no = :run ORDER BY job_id DESC LIMIT :room"
        is_left = True
        while is_left:
            with self._turn.step():
                self._spare_revived()
                session.change("DELETE FROM part_run")
                session.change("DELETE FROM part_job")
                runs, room = session.rows(f"SELECT k FROM gone_run ORDER BY k LIMIT {BATCH}"), ROWS
                for (run,) in runs:
                    room -= put("part_job", jobs, run=run, room=room)
                    if room <= 0:
                        break
                    put("part_run", "SELECT CAST(:run AS BIGINT)", run=run)
                self._delete("job", [("job", "job_id")], _tags("job", "SELECT k FROM part_job"), _UNCOUNT)
                leases = f"DELETE FROM call_lease WHERE execution_id IN ({_RUNS})"
                tables = ("execution", "execution_no"), ("gone_run", "k")
                self._delete("run", tables, _tags("execution", _RUNS), leases)
                is_left = bool(runs)

    def _spare_revived(self) -> None:
        """Keep an execution that was taken for dead and is not, or that was pinned meanwhile."""
        pinned = "SELECT 1 FROM tag g WHERE g.entity_id = e.execution_id AND g.key = :pin AND g.ended IS NULL"
        revived = self._marks.add(
            "run",
            "SELECT e.execution_no FROM gone_run g JOIN execution e ON e.execution_no = g.k "
            f"WHERE ({is_alive(self._session.now)}) OR EXISTS ({pinned}) "
            f"AND e.execution_id NOT IN ({self._session.listed('named')})",
            pin=PIN,
            named=json.dumps(self._named.executions),
        )
        if revived:
            self._session.change("DELETE FROM gone_run WHERE k IN (SELECT k FROM new_run)")
            self._marks.spread()

    # --- payloads -----------------------------------------------------------------------------------

    def _files(self, source: str, *, is_named: bool) -> None:
        """Those that no row names. They go inside the transaction: who comes after it puts them anew."""
        session, is_left = self._session, True
        while is_left:
            try:
                with ExitStack() as stack:
                    for turn in (self._turn, *self._others):
                        stack.enter_context(turn.step())
                    if is_left := self._take("payload", source, BATCH):
                        self._leave_named(by_us=not is_named)
                        self._delete("payload", [("payload", "payload_digest")])
                        self._payloads.delete_many(map(Digest, self._part()))
            except StoreError as error:  # the rest may be deleted all the same
                self.problems.append(str(error))
                failed = f"SELECT k FROM {source} ORDER BY k LIMIT {BATCH}"
                session.change(f"DELETE FROM {source} WHERE k IN ({failed})")

    def _leave_named(self, *, by_us: bool) -> None:
        """Leave what a row has come to name, of this repository or of the others."""
        session = self._session
        if by_us:
            is_named = "EXISTS (SELECT 1 FROM payload p WHERE p.payload_digest = part_payload.k)"
            session.change(f"DELETE FROM part_payload WHERE {is_named}")
        for other in self._others:
            leave(session, "part_payload", named_by(other, self._part()))

    def _part(self) -> list[str]:
        return [digest for (digest,) in self._session.rows("SELECT k FROM part_payload")]


def named_by(turn: Turn, digests: Sequence[str]) -> list[str]:
    """Those of the payloads that rows of a repository name, or its writers have claimed."""
    session, keys = turn.session, json.dumps(digests)
    rows = session.rows(_NAMED.format(listed=session.listed("keys")), keys=keys)
    rows += session.rows(f"SELECT k FROM keep_payload WHERE k IN ({session.listed('keys')})", keys=keys)
    return [digest for (digest,) in rows]


def leave(session: Session, table: str, keys: Sequence[str]) -> None:
    """Take these out of a table of what goes."""
    session.change(f"DELETE FROM {table} WHERE k IN ({session.listed('keys')})", keys=json.dumps(keys))


def _tags(entity: str, which: str) -> str:
    return _TAGS.format(entity=entity, which=which)
