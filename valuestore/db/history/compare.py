"""Compare: two executions, job by job. What is the same call in both has the same task and arguments."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, text

from valuestore.db.engine.database import Database
from valuestore.db.history.code import parts_of
from valuestore.db.history.names import Name, Names
from valuestore.errors import RecordNotFound

MOST_JOBS = 200_000

_JOBS = """
WITH RECURSIVE below(replay_id, call_no) AS (
    SELECT j.job_id, x.child_no FROM job j JOIN execution e ON e.execution_no = j.execution_no
      JOIN call_node c ON c.call_hash = j.call_hash JOIN call_edge x ON x.parent_no = c.call_no
     WHERE e.execution_id = :execution AND j.calls > 1
     UNION SELECT b.replay_id, x.child_no FROM below b JOIN call_edge x ON x.parent_no = b.call_no
)
SELECT * FROM (
SELECT j.job_id, t.task_name AS task, t.task_hash, j.status, COALESCE(c.args_hash, j.args_hash) AS args_hash,
       c.value_hash, v.preview AS result, j.error
  FROM job j JOIN execution e ON e.execution_no = j.execution_no
  LEFT JOIN task t ON t.task_no = j.task_no LEFT JOIN call_node c ON c.call_hash = j.call_hash
  LEFT JOIN value v ON v.value_hash = c.value_hash
 WHERE e.execution_id = :execution
UNION ALL
SELECT b.replay_id, t.task_name, t.task_hash, 'cached', c.args_hash, c.value_hash, v.preview, NULL
  FROM below b JOIN call_node c ON c.call_no = b.call_no JOIN task t ON t.task_no = c.task_no
  LEFT JOIN value v ON v.value_hash = c.value_hash
) every ORDER BY job_id LIMIT :most
"""
"""Its jobs, and below those that were replayed, the calls that they stand for."""


@dataclass(frozen=True, slots=True)
class ComparedJob:
    """A job of one of the two executions."""

    job_id: str
    task: str
    status: str
    result: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """The same call in both, or calls of one task that stand at the same place."""

    before: ComparedJob
    after: ComparedJob


@dataclass(frozen=True, slots=True)
class ComparedTask:
    """The jobs of one task in both: how many of each status, and how many of the calls are which.

    ``calls`` has ``equal``, ``added``, ``removed``, ``changed``, ``rerun`` and ``differ``, as of a
    ``Comparison``, those that there are. ``code`` names the code that is another, none if it is the same.
    """

    task: str
    before: dict[str, int]
    after: dict[str, int]
    calls: dict[str, int]
    code: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What sets two executions apart.

    ``added`` and ``removed``: calls that one alone made. ``changed``: calls of a task in the same place with
    other arguments. ``rerun``: the same call, whose body ran in the second. ``differ``: the same call with
    another result or status. ``equal`` counts the calls that gave the same; a call that was made twice counts
    as one. ``tasks`` sums up by task, by name. ``is_whole``: all were compared.
    """

    before: str
    after: str
    added: tuple[ComparedJob, ...]
    removed: tuple[ComparedJob, ...]
    changed: tuple[ComparedPair, ...]
    rerun: tuple[ComparedPair, ...]
    differ: tuple[ComparedPair, ...]
    equal: int
    is_whole: bool
    tasks: tuple[ComparedTask, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both made the same calls with the same results."""
        return not (self.added or self.removed or self.changed or self.differ)


def compare(database: Database, before: Name, after: Name, task: str | None = None) -> Comparison:
    """Two executions, or the jobs of one task in them: two statements, and two for each task whose code is
    another. Raises: RecordNotFound; AmbiguousId.
    """
    ids = [Names(database).find_one(each, ("execution",)).record_id for each in (before, after)]
    with database.read() as connection:
        given = [{"execution": each, "most": MOST_JOBS} for each in ids]
        old, new = (list(connection.execute(text(_JOBS), each)) for each in given)
        is_whole = max(len(old), len(new)) < MOST_JOBS
        if task is not None:
            old, new = ([row for row in rows if _is_named(row.task, task)] for rows in (old, new))
            if not old and not new:
                raise RecordNotFound(task, "task in these executions")
        found = _compared(ids, _by_call(old), _by_call(new), is_whole=is_whole)
        return replace(found, tasks=tuple(_by_task(connection, found, old, new)))


def _by_call(rows: list[Any]) -> dict[tuple[Any, ...], Any]:
    """Jobs by task and arguments: of equal calls, which share a result, the one whose body ran, or the first.

    How many there are says nothing: calls that came back from the cache are no longer one object.
    """
    found: dict[tuple[Any, ...], Any] = {}
    for row in rows:
        call = (row.task, row.args_hash)
        if call not in found or (row.status == "done" and found[call].status == "cached"):
            found[call] = row
    return found


def _compared(
    ids: list[str], old: dict[tuple[Any, ...], Any], new: dict[tuple[Any, ...], Any], *, is_whole: bool
) -> Comparison:
    rerun, differ, equal = [], [], 0
    for before, after in [(old[call], new[call]) for call in new if call in old]:
        pair = ComparedPair(_shown(before), _shown(after))
        if after.status == "done":
            rerun.append(pair)
        if before.value_hash != after.value_hash or (before.status == "failed") != (after.status == "failed"):
            differ.append(pair)
        else:
            equal += 1
    removed = [row for call, row in old.items() if call not in new]
    added = [row for call, row in new.items() if call not in old]
    pairs = tuple(_paired(removed, added)), tuple(rerun), tuple(differ)
    alone = tuple(map(_shown, added)), tuple(map(_shown, removed))
    return Comparison(ids[0], ids[1], *alone, *pairs, equal, is_whole)


def _by_task(
    connection: Connection, found: Comparison, old: list[Any], new: list[Any]
) -> Iterable[ComparedTask]:
    """The comparison by task; every call that both made is equal, or differs."""
    kinds = {name: Counter(each.task for each in getattr(found, name)) for name in ("added", "removed")}
    for name in ("changed", "rerun", "differ"):
        kinds[name] = Counter(pair.after.task for pair in getattr(found, name))
    both = {(row.task, row.args_hash) for row in old} & {(row.task, row.args_hash) for row in new}
    kinds["equal"] = Counter(task or "" for task, _ in both) - kinds["differ"]
    of_old, of_new = _grouped(old), _grouped(new)
    for task in sorted({*of_old, *of_new}):
        before, after = (rows.get(task, []) for rows in (of_old, of_new))
        hashes = [{row.task_hash for row in rows} for rows in (before, after)]
        code: tuple[str, ...] = ()
        if all(hashes) and hashes[0] != hashes[1]:
            parts = [
                {(part.name, part.digest) for each in one for part in parts_of(connection, each)}
                for one in hashes
            ]
            code = tuple(sorted({name for name, _ in parts[0] ^ parts[1]})) or (task,)
        counted = [dict(Counter(row.status for row in rows)) for rows in (before, after)]
        calls = {name: counter[task] for name, counter in kinds.items() if counter[task]}
        yield ComparedTask(task, counted[0], counted[1], calls, code)


def _grouped(rows: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.task or ""].append(row)
    return found


def _is_named(task: str | None, name: str) -> bool:
    return task is not None and (task == name or task.endswith(f".{name}"))


def _paired(removed: list[Any], added: list[Any]) -> list[ComparedPair]:
    """Calls of the same task, in order, taken out of both lists."""
    waiting: dict[str, deque[Any]] = defaultdict(deque)
    for row in removed:
        waiting[row.task].append(row)
    pairs, left = [], []
    for row in added:
        if before := waiting[row.task]:
            pairs.append(ComparedPair(_shown(before.popleft()), _shown(row)))
        else:
            left.append(row)
    added[:] = left
    removed[:] = [row for rows in waiting.values() for row in rows]
    return pairs


def _shown(row: Any) -> ComparedJob:
    return ComparedJob(row.job_id, row.task or "", row.status, row.result, row.error)
