"""Collection: rows that nothing kept points to, and payloads that no row names, are deleted.

Mark, then sweep (docs/decisions/0033-collection.md). Rows go before payloads, and what points before what it
points to, so a collection that is killed leaves nothing that points nowhere. Each transaction is short, and
takes account of what running writers have claimed since the last (record/guard.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from valuestore.db.upkeep import Whole
from valuestore.db.upkeep.roots import (
    PIN,
    UNCLAIMED,
    Named,
    Rules,
    find_roots,
    is_alive,
    keep_unclaimed,
    let_go,
)
from valuestore.db.upkeep.session import opened
from valuestore.db.upkeep.sweep import BATCH, Sweep, leave, named_by
from valuestore.db.upkeep.turn import Turn
from valuestore.errors import CollectionRefused
from valuestore.hashing import Digest
from valuestore.kinds import WAIT, check_table
from valuestore.stores.content.marker import OWN_FOLDER
from valuestore.stores.content.store import ContentStore
from valuestore.stores.wrappers.opening import folder_of

SKEW_SECONDS = 60.0
"""How far the clocks of payload store and database may be apart."""


@dataclass(frozen=True)
class Freed:
    """What goes for one reason: how many things, and their payload bytes."""

    count: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class GcReport:
    """What a collection deleted, or would delete if it is a ``dry_run``.

    ``kept`` are executions by the reason why they are; ``freed``, what goes by its reason: ``executions``
    (with no bytes of their own), their ``jobs``, ``calls`` and ``evaluations``, deleted ``entries`` of the
    catalog, ``values`` in the database, ``payloads`` that only such values and entries named, and ``unnamed``
    payloads, which no row named. ``problems`` are sentences: what could not be deleted. Beside writers a
    little less may have gone than is told here.
    """

    dry_run: bool
    kept: dict[str, int]
    freed: dict[str, Freed]
    problems: tuple[str, ...] = ()

    @property
    def freed_bytes(self) -> int:
        """Payload bytes, in the database and in the store."""
        return sum(each.bytes for each in self.freed.values())


@dataclass(frozen=True)
class Plan:
    """What is to be collected, as ``Repository.gc`` has it; ``named`` goes whatever the rules say.

    Raises: ConfigError for a ``grace_seconds`` that is none: no age is below NaN, and all would go.
    """

    rules: Rules = field(default_factory=Rules)
    named: Named = field(default_factory=Named)
    grace_seconds: float = 3600.0
    dry_run: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        check_table("", {"grace_seconds": self.grace_seconds}, {"grace_seconds": WAIT})


def collect(repository: Whole, plan: Plan, others: Sequence[Whole] = ()) -> GcReport:
    """Collect. ``others`` are all other repositories that have payloads in the same store.

    Raises: CollectionRefused; ConfigError; StoreError; DatabaseError.
    """
    others = [one for one in others if one.database.name != repository.database.name]
    _check_owners(repository, others)
    if not plan.dry_run:
        for one in (repository, *others):
            one.database.check_writable()
            one.flush()
    with ExitStack() as stack:
        sessions = [stack.enter_context(opened(one.database)) for one in (repository, *others)]
        turns = [Turn(session, repository.payloads.algorithm) for session in sessions]
        if not plan.dry_run:
            for turn in turns:
                stack.enter_context(turn.held())
        return _Collection(turns, repository.payloads, plan).run()


def _check_owners(repository: Whole, others: Sequence[Whole]) -> None:
    """Raises: CollectionRefused if payloads are of others, too."""
    payloads, all_ = repository.payloads, (repository, *others)
    ids, folders = {one.repository_id for one in all_}, {os.path.abspath(one.folder) for one in all_}
    is_local = payloads.url.startswith("file:")
    around = os.path.dirname(folder_of(payloads.url))

    def is_moved(where: str) -> bool:
        return is_local and os.path.isabs(where) and not os.path.exists(where)

    own = {one.payloads.place.replace(OWN_FOLDER, around) for one in all_}
    unknown = [
        where
        for key, noted in payloads.owners()
        if (where := noted.replace(OWN_FOLDER, around))
        and where not in own
        and (key not in ids or where not in folders)
        and not (key in ids and is_moved(where))
    ]
    if unknown:
        problem = f"{payloads.url} also holds payloads of {', '.join(sorted(unknown))}; name each by --with"
        raise CollectionRefused(str(repository.folder), problem)


def delete(repository: Whole, name: Any, others: Sequence[Whole] = (), *, dry_run: bool) -> GcReport:
    """Collect an execution, or a value put by hand, with what it alone leads to. Raises: as ``collect``."""
    repository.flush()
    found = repository.history.find_one(name)
    key = found.record_id
    with opened(repository.database) as session:
        if found.kind == "execution":
            named = Named(executions=(key,))
            runs = f"SELECT 1 FROM execution e WHERE e.execution_id = :id AND {is_alive(session.now)}"
            is_on = session.one(runs, id=key)
            problem = "it is running" if is_on else ""
        else:
            named = Named(values=(Digest(key),))
            is_held = session.one("SELECT 1 FROM held WHERE value_hash = :id", id=key)
            problem = "" if is_held else "only executions, and values put by hand, can be deleted"
        jobs = "SELECT j.job_id FROM job j JOIN execution e ON e.execution_no = j.execution_no"
        owned = f"entity_id = :id OR entity_id IN ({jobs} WHERE e.execution_id = :id)"
        pins = f"SELECT 1 FROM tag WHERE key = :pin AND ended IS NULL AND ({owned})"
        if session.one(pins, id=key, pin=PIN):
            problem = "it, or a job of it, is pinned (`valuestore unpin`)"
    if problem:
        raise CollectionRefused(str(repository.folder), f"{found.kind} {key} stays: {problem}")
    return collect(repository, Plan(named=named, dry_run=dry_run), others)


_LEFT = (
    "SELECT DISTINCT e.eval_hash FROM evaluation e WHERE NOT EXISTS (SELECT 1 FROM keep_eval o "
    "WHERE o.k = e.eval_hash) AND NOT EXISTS (SELECT 1 FROM gone_eval g WHERE g.k = e.eval_hash)"
)
_IS_KEPT = "EXISTS (SELECT 1 FROM keep_value o WHERE o.k = e.value_hash)"
"""A cache entry whose result stays may be of a call that stays: only a job that went told its classes."""
_UNFINISHED = (
    "SELECT 1 FROM keep_run o JOIN execution e ON e.execution_no = o.k "
    "WHERE e.status NOT IN ('done', 'failed') LIMIT 1"
)
_GONE = {
    "call": ("call_no", "call_node"),
    "args": ("args_hash", "argument"),
    "sets": ("set_hash", "set_member"),
    "value": ("value_hash", "value"),
    "code": ("task_hash", "(SELECT task_hash FROM task UNION SELECT task_hash FROM dependency)"),
    "entry": ("entry_id", "entry_version"),
    "payload": ("payload_digest", "payload"),
}
"""What goes unless it is kept: the keys of which tables."""


class _Collection:
    """One collection, from its marks to its report."""

    def __init__(self, turns: list[Turn], payloads: ContentStore, plan: Plan) -> None:
        self._turns = turns
        self._turn, *self._others = turns
        self._session, self._marks = self._turn.session, self._turn.marks
        self._payloads = payloads
        self._plan = plan
        self._kept: dict[str, int] = {}
        self._freed: dict[str, Freed] = {}
        self._problems: list[str] = []
        for name in ("part_job", "part_claim", "stored", "unnamed"):
            self._session.make(name, "k VARCHAR(64) PRIMARY KEY")
        for other in self._others:
            other.session.make("part_claim", "k VARCHAR(64) PRIMARY KEY")

    def run(self) -> GcReport:
        """All of it. Raises: as ``collect``."""
        self._mark()
        if self._plan.named == Named():
            self._compare_with_store()
        self._count()
        if not self._plan.dry_run:
            with self._turn.step():
                let_go(self._session, self._plan.rules, self._plan.named)
            sweep = Sweep(self._turns, self._payloads, self._plan.named)
            for work in sweep.steps():
                work()
                self._session.checkpoint()
            self._problems += sweep.problems
        return GcReport(self._plan.dry_run, self._kept, self._freed, tuple(self._problems))

    # --- marking ----------------------------------------------------------------------------------

    def _mark(self) -> None:
        session, marks, named = self._session, self._marks, self._plan.named
        self._kept = find_roots(session, marks, self._plan.rules, named)
        if "running" in self._kept:
            keep_unclaimed(session, marks, named)
        marks.spread()
        self._renew()
        is_kept = "EXISTS (SELECT 1 FROM keep_run o WHERE o.k = e.execution_no)"
        marks.put("gone_run", f"SELECT execution_no FROM execution e WHERE NOT {is_kept}")
        marks.put_evaluations_of_gone_jobs()
        session.change("DELETE FROM gone_eval WHERE k IN (SELECT k FROM keep_eval)")
        if self._plan.rules.keeps_all or session.one(_UNFINISHED):  # of jobs that are not recorded yet
            marks.add("eval", _LEFT)
            marks.add("args", UNCLAIMED)
        else:
            marks.add("eval", f"{_LEFT} AND {_IS_KEPT}")
        marks.spread()
        marks.put("gone_eval", _LEFT)
        for kind, (key, table) in _GONE.items():
            is_kept = f"EXISTS (SELECT 1 FROM keep_{kind} o WHERE o.k = x.{key})"
            marks.put(f"gone_{kind}", f"SELECT DISTINCT x.{key} FROM {table} x WHERE NOT {is_kept}")
        self._renew()

    def _renew(self) -> None:
        if not self._plan.dry_run:
            for turn in self._turns:
                with turn.step():
                    pass

    # --- the payload store -------------------------------------------------------------------------

    def _compare_with_store(self) -> None:
        """Which payloads no row names, and whether what is kept is there. Raises: CollectionRefused."""
        session, marks = self._session, self._marks
        listed = session.listed("keys")
        for digests in _batches(self._payloads.digests(), 10 * BATCH):
            marks.put("stored", listed, keys=json.dumps(digests))
        self._renew()
        missing = session.rows(
            "SELECT k FROM keep_payload o WHERE NOT EXISTS (SELECT 1 FROM stored s WHERE s.k = o.k)"
        )
        lost = 0
        for digests in _batches((digest for (digest,) in missing), BATCH):
            lost += len(digests) - len(self._payloads.has_many(digests))
        if lost:
            problem = f"{lost} payloads that are kept are not in {self._payloads.url}"
            if not self._plan.dry_run and not self._plan.force:
                advice = "if that is its store, a rerun computes them anew; collect with --force"
                raise CollectionRefused(session.database.name, f"{problem}: {advice}")
            self._problems.append(problem)
        of_none = (
            f"NOT EXISTS (SELECT 1 FROM {table} x WHERE x.{key} = s.k)"
            for table, key in (("payload", "payload_digest"), ("keep_payload", "k"))
        )
        marks.put("unnamed", f"SELECT s.k FROM stored s WHERE {' AND '.join(of_none)}")
        for digests in _batches(self._unnamed(), BATCH):
            for other in self._others:
                leave(session, "unnamed", named_by(other, digests))
        self._leave_young()

    def _leave_young(self) -> None:
        """A payload that no row names may be one whose row is on its way."""
        session, size, count = self._session, 0, 0
        young: list[str] = []
        for digest, bytes_, age, clock in self._payloads.ages(self._unnamed()):
            if not young and not count:
                self._check_clock(clock)
            if age < self._plan.grace_seconds:
                young.append(digest)
            else:
                size, count = size + bytes_, count + 1
        for digests in _batches(young, BATCH):
            leave(session, "unnamed", digests)
        self._freed["unnamed"] = Freed(count, size)

    def _check_clock(self, clock: float) -> None:
        apart = abs(clock - int(self._session.one(f"SELECT {self._session.now}")) / 1e6)
        if apart > SKEW_SECONDS and not self._plan.force:
            problem = f"the clocks of {self._payloads.url} and the database are {apart:.0f} s apart"
            advice = "set them right, or collect with --force"
            raise CollectionRefused(self._session.database.name, f"{problem}; {advice}")

    def _unnamed(self) -> Iterator[Digest]:
        """In pages, since the list may be long and changes meanwhile."""
        after = ""
        while page := self._session.rows(
            f"SELECT k FROM unnamed WHERE k > :after ORDER BY k LIMIT {BATCH}", after=after
        ):
            yield from (Digest(digest) for (digest,) in page)
            after = page[-1][0]

    def _count(self) -> None:
        """What goes, by its reason."""
        counted = {
            "executions": "0 FROM gone_run",
            "jobs": "0 FROM job j JOIN gone_run g ON g.k = j.execution_no",
            "calls": "0 FROM gone_call",
            "entries": "0 FROM gone_entry",
            # marked are keys that jobs may have had, which need not be there
            "evaluations": "0 FROM gone_eval g JOIN evaluation e ON e.eval_hash = g.k",
            "values": "SUM(CASE WHEN x.inline IS NULL THEN 0 ELSE x.size END) "
            "FROM gone_value g JOIN value x ON x.value_hash = g.k",
            "payloads": "SUM(x.size) FROM gone_payload g JOIN payload x ON x.payload_digest = g.k",
        }
        rows = self._session.rows
        found = {name: rows(f"SELECT count(*), {what}")[0] for name, what in counted.items()}
        sized = {name: Freed(int(count), int(size or 0)) for name, (count, size) in found.items()}
        self._freed = sized | self._freed


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
