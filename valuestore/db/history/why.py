"""Why: for what reason a job ran, instead of being answered from the cache.

It is compared with the nearest earlier call of the same task: with the same arguments, else with those
that most of its arguments are equal to, in an earlier execution. What differs is the reason. Values are
compared by their plain payloads or previews: nothing that is stored is loaded or executed.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, String, bindparam, text

from valuestore.db.engine.database import Database
from valuestore.db.history.code import CodePart, parts_of
from valuestore.db.history.names import Name, Names
from valuestore.db.record.rows import eval_hash
from valuestore.errors import RecordNotFound
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, algorithm_of
from valuestore.values.difference import Change, difference

ReasonKind = Literal[
    "cached", "first run", "argument", "file", "code", "version", "payload", "not cached", "failed", "unknown"
]

_LONGEST_DIFF = 200
_CANDIDATES = 200
_MOST_FILES = 20
_MOST_NOTES = 5

Forms = Callable[[str], Any]
"""The canonical form of a value by its hash; None if it is too large, gone, or not plain."""


@dataclass(frozen=True)
class Reason:
    """One thing that was different. ``subject``: the argument, the path or the code that it is about.

    ``changes`` sets two values apart, ``diff`` two sources.
    """

    kind: ReasonKind
    sentence: str
    subject: str | None = None
    changes: tuple[Change, ...] = ()
    diff: str | None = None

    def __str__(self) -> str:
        changes = [f"{each.before or 'nothing'} -> {each.after or 'nothing'}" for each in self.changes[:1]]
        return ": ".join([self.sentence, *changes])


@dataclass(frozen=True)
class Explanation:
    """Why ``job_id`` ran. ``compared_with`` is the earlier job, None if there was none."""

    job_id: str
    task: str
    status: str
    compared_with: str | None
    reasons: tuple[Reason, ...] = field(default=())


@dataclass(frozen=True)
class JobFacts:
    """What is known of one of the two jobs.

    Of one that is not recorded also what its rows would say: its arguments, code by its hash, changed files.
    """

    job_id: str
    execution_no: int
    status: str
    task_name: str
    task_hash: str
    version: str | None
    source: str
    call_hash: str | None
    args_hash: str | None
    value_hash: str | None
    classes_hash: str | None
    trace_hash: str | None
    given: tuple[Any, ...] | None = None
    code: Mapping[str, tuple[CodePart, ...]] = field(default_factory=dict)
    invalid: Callable[[set[Digest]], set[Digest]] = lambda _value_hashes: set()


_JOB = """
SELECT j.job_id, j.execution_no, j.status, t.task_name, t.task_hash, t.version, t.source, j.call_hash,
       COALESCE(c.args_hash, j.args_hash) AS args_hash, c.value_hash, j.classes_hash, j.trace_hash
  FROM job j JOIN task t ON t.task_no = j.task_no LEFT JOIN call_node c ON c.call_hash = j.call_hash
"""

_NEWEST_OF_TASK = """
j.job_id = (SELECT MAX(k.job_id) FROM task n JOIN task v ON v.task_name = n.task_name
  JOIN job k ON k.task_no = v.task_no WHERE n.task_hash = :id)
"""

_SAME_ARGUMENTS = f"""
{_JOB.replace("FROM job j", "FROM call_node k JOIN job j ON j.call_hash = k.call_hash AND j.status = 'done'")}
 WHERE k.args_hash = :args AND t.task_name = :task AND j.job_id < :job ORDER BY j.job_id DESC LIMIT 1
"""

_FAILED_BEFORE = f"""
{_JOB} WHERE j.status = 'failed' AND j.job_id < :job AND j.args_hash = :args AND t.task_name = :task
 ORDER BY j.job_id DESC LIMIT 1
"""

_IN_EARLIER_EXECUTIONS = f"""
{_JOB.replace("FROM job j JOIN task t", "FROM task t JOIN job j")}
 WHERE t.task_name = :task AND j.job_id < :job AND j.execution_no < :execution
 ORDER BY j.job_id DESC LIMIT {_CANDIDATES}
"""

_ARGUMENTS = """
SELECT a.position, a.name, a.value_hash, v.type_name, v.preview, f.path FROM argument a
  LEFT JOIN value v ON v.value_hash = a.value_hash LEFT JOIN file f ON f.value_hash = a.value_hash
 WHERE a.args_hash = :args ORDER BY a.position
"""

_FILES_IN = """
WITH RECURSIVE inside(value_hash) AS (
  SELECT CAST(:value AS VARCHAR(64))
  UNION SELECT s.child_hash FROM inside i JOIN subvalue s ON s.parent_hash = i.value_hash)
SELECT f.path, f.value_hash FROM inside i JOIN file f ON f.value_hash = i.value_hash
 ORDER BY f.path LIMIT 1000
"""

_FILES_BELOW = """
WITH RECURSIVE below(hash) AS (
  SELECT external_set_hash FROM call_node WHERE call_hash = :call
  UNION SELECT m.member_hash FROM below b JOIN set_member m ON m.set_hash = b.hash)
SELECT f.path, f.value_hash FROM below b JOIN file f ON f.value_hash = b.hash ORDER BY f.path LIMIT 1000
"""

_IS_CACHED = "SELECT 1 FROM evaluation WHERE eval_hash = :key"
_IS_STORED = "SELECT 1 FROM value WHERE value_hash = :value AND inline IS NULL"

_CANDIDATES_ARGUMENTS = text(
    "SELECT a.args_hash, a.position, a.value_hash, f.path FROM argument a "
    "LEFT JOIN file f ON f.value_hash = a.value_hash WHERE a.args_hash IN :all"
).bindparams(bindparam("all", type_=String, expanding=True))


class WhyFinder:
    """Explains jobs of one database."""

    def __init__(self, database: Database, forms: Forms = lambda _value_hash: None) -> None:
        self.database = database
        self.forms = forms
        self._names = Names(database)

    def explain(self, job: Name) -> Explanation:
        """Why a job ran; of a task the newest one. Raises: RecordNotFound; AmbiguousId."""
        found = self._names.find_one(job, ("job", "task"))
        which = "j.job_id = :id" if found.kind == "job" else _NEWEST_OF_TASK
        with self.database.read() as connection:
            this = _job(connection, f"{_JOB} WHERE {which}", id=found.record_id)
            if this is None:
                raise RecordNotFound(found.record_id, "job whose task is recorded")
            earlier, reasons = self._reasons(connection, this)
        other = earlier.job_id if earlier else None
        return Explanation(this.job_id, this.task_name, this.status, other, tuple(reasons))

    def reasons(self, planned: JobFacts) -> tuple[Reason, ...]:
        """Why a job would run that is not recorded. Its id is newer than all that are."""
        with self.database.read() as connection:
            return tuple(self._reasons(connection, planned)[1])

    def _reasons(self, connection: Connection, this: JobFacts) -> tuple[JobFacts | None, list[Reason]]:
        keys = {"args": this.args_hash, "task": this.task_name, "job": this.job_id}
        same = _job(connection, _SAME_ARGUMENTS, **keys) if this.args_hash else None
        if this.status == "cached":
            return same, [Reason("cached", "it did not run: an equal call had run before")]
        if same is not None:
            return same, self._code(connection, same, this) or self._lost(connection, same, this)
        failed = _job(connection, _FAILED_BEFORE, **keys) if this.args_hash else None
        if failed is not None:
            reason = Reason("failed", "the call before it failed, and failures are not kept")
            return failed, [reason, *self._code(connection, failed, this)]
        nearest = self._nearest(connection, this)
        if nearest is None:
            return None, [Reason("first run", "no earlier execution ran this task")]
        return nearest, self._differences(connection, nearest, this)

    # --- arguments ----------------------------------------------------------------------------

    def _nearest(self, connection: Connection, this: JobFacts) -> JobFacts | None:
        """The earlier job that shares most arguments, then most paths of files; the newest of these."""
        where = {"task": this.task_name, "job": this.job_id, "execution": this.execution_no}
        candidates = [JobFacts(*row) for row in connection.execute(text(_IN_EARLIER_EXECUTIONS), where)]
        if not candidates:
            return None
        hashes = {each.args_hash for each in candidates if each.args_hash}
        given: dict[str | None, set[tuple[int, str]]] = defaultdict(set)
        paths: dict[str | None, set[tuple[int, str]]] = defaultdict(set)
        own = [
            (this.args_hash, each.position, each.value_hash, each.path)
            for each in _arguments(connection, this)
        ]
        others = connection.execute(_CANDIDATES_ARGUMENTS, {"all": sorted(hashes)})
        for args_hash, position, value_hash, path in (*own, *others):
            given[args_hash].add((position, value_hash))
            if path is not None:
                paths[args_hash].add((position, path))

        def shared(each: JobFacts) -> list[int]:
            return [len(kind[each.args_hash] & kind[this.args_hash]) for kind in (given, paths)]

        return max(candidates, key=shared)

    def _differences(self, connection: Connection, earlier: JobFacts, this: JobFacts) -> list[Reason]:
        reasons = self._code(connection, earlier, this)
        old = {row.name: row for row in _arguments(connection, earlier)}
        new = {row.name: row for row in _arguments(connection, this)}
        for name in [*new, *(name for name in old if name not in new)]:
            if name in old and name in new and old[name].value_hash == new[name].value_hash:
                continue
            reasons.append(self._argument(name, old.get(name), new.get(name)))
        return reasons or [Reason("unknown", "the arguments of one of the two calls were not recorded")]

    def _argument(self, name: str, old: Any, new: Any) -> Reason:
        if old is None or new is None:
            return Reason("argument", f"the parameter {name} is {'new' if old is None else 'gone'}", name)
        if old.path is not None and old.path == new.path:
            return Reason("file", f"the file {new.path}, argument {name}, has changed", new.path)
        changes = tuple(self._changes(old, new))
        notes = "; ".join([change.note for change in changes if change.note][:_MOST_NOTES])
        sentence = f"the argument {name} is another"
        return Reason("argument", f"{sentence}: {notes}" if notes else sentence, name, changes)

    def _changes(self, old: Any, new: Any) -> list[Change]:
        before, after = self.forms(old.value_hash), self.forms(new.value_hash)
        if before is not None and after is not None and (found := difference(before, after)):
            return found
        return [Change("", "changed", old.preview, new.preview)]

    # --- code ---------------------------------------------------------------------------------

    def _code(self, connection: Connection, earlier: JobFacts, this: JobFacts) -> list[Reason]:
        if earlier.task_hash == this.task_hash:
            return _other_code(connection, earlier, this)
        diff = _diff(this.task_name, earlier.source, this.source)
        if earlier.version != this.version:
            before, after = earlier.version or "its code", this.version or "its code"
            sentence = f"the version of the task is another: {before}, then {after}"
            return [Reason("version", sentence, this.task_name, diff=diff)]
        old, new = (_dependencies(connection, each, each.task_hash) for each in (earlier, this))
        reasons = [_dependency_reason(name, old.get(name), new.get(name)) for name in _changed(old, new)]
        if reasons and old and new:
            return reasons
        what = "the code of the task" if diff else "something that the task refers to"
        return [Reason("code", f"{what} has changed", this.task_name, diff=diff)]

    # --- results ------------------------------------------------------------------------------

    def _lost(self, connection: Connection, earlier: JobFacts, this: JobFacts) -> list[Reason]:
        """The same call again: its result was no longer there, or no longer true."""
        assert this.args_hash is not None
        algorithm = algorithm_of(this.args_hash) or DEFAULT_ALGORITHM
        key = eval_hash(Digest(this.task_hash), Digest(this.args_hash), algorithm, this.classes_hash)
        if connection.execute(text(_IS_CACHED), {"key": key}).first() is None:
            return [Reason("not cached", "results of this task are not cached, or could not be stored")]
        value = {"value": earlier.value_hash}
        paths = [row.path for row in connection.execute(text(_FILES_IN), value)]
        what = "which it returned before, had changed or was gone"
        if not paths:
            what, paths = "which a call below it had, had changed", _changed_below(connection, earlier, this)
        if paths:
            return [Reason("file", f"the file {path}, {what}", path) for path in paths[:_MOST_FILES]]
        if connection.execute(text(_IS_STORED), value).first() is not None:
            sentence = "the bytes of the earlier result were lost or damaged"
            return [Reason("payload", sentence, earlier.value_hash)]
        sentence = "the earlier result was not used: damaged, stale, not loadable, or the run was to run it"
        return [Reason("unknown", sentence)]


def _job(connection: Connection, sql: str, **parameters: Any) -> JobFacts | None:
    row = connection.execute(text(sql), parameters).first()
    return None if row is None else JobFacts(*row)


def _arguments(connection: Connection, job: JobFacts) -> list[Any]:
    if job.given is not None:
        return list(job.given)
    return list(connection.execute(text(_ARGUMENTS), {"args": job.args_hash or ""}))


def _changed_below(connection: Connection, earlier: JobFacts, this: JobFacts) -> list[str]:
    """Paths of files that were in calls below the one, and no longer as they were below the other."""
    old, new = (
        {tuple(row) for row in connection.execute(text(_FILES_BELOW), {"call": each.call_hash or ""})}
        for each in (earlier, this)
    )
    changed = this.invalid({value_hash for _, value_hash in old})
    return sorted({path for path, value_hash in old - new if this.given is None or value_hash in changed})


def _dependencies(connection: Connection, job: JobFacts, code_hash: str | None) -> dict[str, CodePart]:
    parts = job.code.get(code_hash or "") or parts_of(connection, code_hash)
    return {part.name: part for part in parts}


def _changed(old: dict[str, CodePart], new: dict[str, CodePart]) -> list[str]:
    digests = [{name: part.digest for name, part in parts.items()} for parts in (old, new)]
    return sorted({name for name, _ in digests[0].items() ^ digests[1].items()})


def _other_code(connection: Connection, earlier: JobFacts, this: JobFacts) -> list[Reason]:
    """What changed of the code that the task does not name, but its arguments brought or its body reached."""
    reasons = []
    if earlier.classes_hash != this.classes_hash:
        old, new = (_dependencies(connection, each, each.classes_hash) for each in (earlier, this))
        for name in _changed(old, new):
            found = _dependency_reason(name, old.get(name), new.get(name))
            what = f"{name} has changed" if name in old and name in new else f"{name} is new or gone"
            reasons.append(replace(found, sentence=f"{what}; the class of an argument brings it"))
    if earlier.trace_hash != this.trace_hash:
        old, new = (_dependencies(connection, each, each.trace_hash) for each in (earlier, this))
        said = {reason.subject for reason in reasons}
        changed = _changed(old, {name: new.get(name, old[name]) for name in old if name not in said})
        for name in [name for name in changed if name not in said]:
            reached = f"{this.task_name} reached it when it ran, though nothing in it names it"
            found = _dependency_reason(name, old[name], new[name])
            reasons.append(replace(found, sentence=f"{name} has changed; {reached}"))
    return reasons


def _dependency_reason(name: str, old: Any, new: Any) -> Reason:
    if old is None:
        return Reason("code", f"it refers to {name} now", name, diff=_diff(name, "", new.source))
    if new is None:
        return Reason("code", f"it no longer refers to {name}", name, diff=_diff(name, old.source, ""))
    return Reason("code", f"{name} has changed", name, diff=_diff(name, old.source, new.source))


def _diff(name: str, before: str | None, after: str | None) -> str | None:
    """A unified diff of two sources, bounded; None if they are equal or unknown."""
    if before is None or after is None or before == after:
        return None
    sides = before.splitlines()[:5000], after.splitlines()[:5000], f"{name} before", f"{name} now"
    lines = list(difflib.unified_diff(*sides, lineterm=""))
    if len(lines) > _LONGEST_DIFF:
        lines = [*lines[:_LONGEST_DIFF], f"... and {len(lines) - _LONGEST_DIFF} lines more"]
    return "\n".join(lines)
