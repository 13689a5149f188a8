"""History: what ran, for people. Reads rows; runs no user code and loads no payload.

``executions()``, ``jobs()``, ``calls()``, ``tasks()``, ``values()``, ``files()`` and ``tags()`` are queries
to be refined; records are found by what people call them (names.py); lineage goes up and down.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from valuestore.db.engine.database import Database
from valuestore.db.history.names import Found, Name, Named, Names
from valuestore.db.history.records import (
    DEPTH,
    ROWS,
    ExecutionRecord,
    JobRecord,
    Page,
    Record,
    TaskCount,
    records_of,
    write_cursor,
)
from valuestore.db.history.sql import Rows, ask
from valuestore.db.schema.kept import kept
from valuestore.errors import RecordNotFound
from valuestore.hashing import Digest

if TYPE_CHECKING:
    from valuestore.db.history.code import TaskCode
    from valuestore.db.history.compare import Comparison
    from valuestore.db.history.executions import ExecutionQuery
    from valuestore.db.history.jobs import CallQuery, JobQuery
    from valuestore.db.history.lineage import Lineage
    from valuestore.db.history.things import FileQuery, TagQuery, TaskQuery, ValueQuery
    from valuestore.db.history.why import Explanation
    from valuestore.values.registry import TypeRegistry

__all__ = ["Found", "History", "Rows"]

_QUERIES = {
    "execution": ("executions", "ExecutionQuery"),
    "job": ("jobs", "JobQuery"),
    "call": ("jobs", "CallQuery"),
    "task": ("things", "TaskQuery"),
    "value": ("things", "ValueQuery"),
    "file": ("things", "FileQuery"),
    "tag": ("things", "TagQuery"),
}
_FIRST_PAGES: dict[str, type[Any]] = {"execution": ExecutionRecord, "job": JobRecord}
"""Kinds of which the newest are asked for by a kept statement."""


class History:
    """Questions about the past of one database. Constant number of statements each."""

    def __init__(
        self,
        database: Database,
        registry: TypeRegistry | None = None,
        before: Callable[[], object] = lambda: None,
        forms: Callable[[str], Any] = lambda _value_hash: None,
    ) -> None:
        self.database = database
        self._registry = registry
        self._before = before
        self._forms = forms
        self._names = Names(database)
        self._statements = kept(database.dialect_name)

    # --- queries ------------------------------------------------------------------------------

    def executions(self) -> ExecutionQuery:
        """Runs, newest first."""
        return cast("ExecutionQuery", self._query("execution"))

    def jobs(self, execution: str | None = None) -> JobQuery:
        """Jobs, newest first; those of one ``execution`` in the order they were made."""
        jobs = cast("JobQuery", self._query("job"))
        return jobs if execution is None else jobs.where(execution=execution).order("oldest")

    def calls(self) -> CallQuery:
        """Finished calls, newest first."""
        return cast("CallQuery", self._query("call"))

    def tasks(self) -> TaskQuery:
        """Versions of tasks, newest first."""
        return cast("TaskQuery", self._query("task"))

    def values(self) -> ValueQuery:
        """Values, by their hash."""
        return cast("ValueQuery", self._query("value"))

    def files(self) -> FileQuery:
        """Files, by their path; one record for each content."""
        return cast("FileQuery", self._query("file"))

    def tags(self) -> TagQuery:
        """Tags, newest first, with those that ended."""
        return cast("TagQuery", self._query("tag"))

    def newest(self, kind: str, limit: int) -> Page[Any]:
        """The first page of the query of executions or jobs, at once: what people ask most."""
        self._before()
        names, rows = self.database.table(self._statements[f"newest {kind}s"], {"most": limit + 1})
        found = records_of(_FIRST_PAGES[kind], (names, rows[:limit]))
        if len(rows) <= limit:
            return Page(found, None)
        last = dict(zip(names, rows[limit - 1], strict=True))
        places = [last[name] for name in names if name.startswith("place_")]
        return Page(found, write_cursor([kind, "newest", *places]))

    def jobs_of(self, execution: Named, limit: int) -> list[JobRecord]:
        """The first jobs of an execution, in the order they were made, likewise."""
        sql = self._statements["jobs of"]
        table = self.database.table(sql, {"id": execution.record_id, "most": limit})
        return records_of(JobRecord, table)

    def running(self, execution: Named, limit: int) -> Rows:
        """What an execution is running, by job, since when and how long; the first ``limit`` that began."""
        return self._rows("running of", id=execution.record_id, most=limit)

    def task_counts(self) -> list[TaskCount]:
        """How many jobs each task had, by name: counted as they were recorded, so at once at any size."""
        self._before()
        return records_of(TaskCount, self.database.table(self._statements["task counts"], {}))

    def _query(self, kind: str) -> Any:
        """A query of one kind, made with SQLAlchemy, which is imported for it."""
        context = _part("query", "Context")(self.database, self._registry, self._before)
        return _part(*_QUERIES[kind])(context)

    # --- one record ---------------------------------------------------------------------------

    def find(self, prefix: str, limit: int = 10) -> list[Found]:
        """The records whose id starts with ``prefix``; at most ``limit`` of each kind. May be empty."""
        self._before()
        return self._names.find(prefix, limit)

    def find_one(self, name: Name) -> Found:
        """The record that is meant by an id's beginning, ``-``, ``~2``, a file's path, or a task's name.

        Raises: RecordNotFound; AmbiguousId, which lists the matches.
        """
        self._before()
        return self._names.find_one(name)

    def record(self, name: Name) -> Record:
        """The record that is meant, of a file the one with the first hash. Raises: as ``find_one``."""
        found = self.find_one(name)
        if found.kind == "entry":
            advice = "ask repository.catalog, or the view entries"
            raise RecordNotFound(found.record_id, f"record with a query: {advice}")
        query = self._query(found.kind)
        if found.kind == "file":  # exactly this path, whatever characters it has
            query = query.exactly(found.record_id)
        else:
            query = query._filtered({"id": found.record_id})
        return cast(Record, query.limit(1).one())

    def result(self, name: Name) -> Digest:
        """The hash of a value, or of the one that a call, a job or an execution gave, or a name stands for.

        What an execution gave is known if it ran one call, not a list or sum of calls. Raises: as
        ``find_one``; RecordNotFound also if there is no result.
        """
        self._before()
        found = self._names.find_one(name, ("value", "execution", "job", "call", "entry"))
        if found.kind == "value":
            return Digest(found.record_id)
        rows = self._rows(f"result of {found.kind}", id=found.record_id).rows
        if not rows:
            given = name if isinstance(name, str) else found.record_id
            raise RecordNotFound(given, f"{found.kind} with a result that is one value")
        return Digest(rows[0][0])

    def upstream(
        self, record: Name, *, depth: int = DEPTH, rows: int = ROWS, cursor: str | None = None
    ) -> Lineage:
        """What made a value, file, call's result or job's result, and from what, across executions.

        At most ``rows`` steps, which ``cursor`` continues, and none deeper than ``depth`` calls. Raises:
        RecordNotFound; AmbiguousId; QueryError.
        """
        return self._lineage("upstream", record, depth=depth, rows=rows, cursor=cursor)

    def downstream(
        self, record: Name, *, depth: int = DEPTH, rows: int = ROWS, cursor: str | None = None
    ) -> Lineage:
        """What used it, and what was made from that; as ``upstream``."""
        return self._lineage("downstream", record, depth=depth, rows=rows, cursor=cursor)

    def why(self, job: Name) -> Explanation:
        """For what reason a job ran instead of being answered from the cache. Raises: as ``find_one``."""
        self._before()
        return cast("Explanation", _part("why", "WhyFinder")(self.database, self._forms).explain(job))

    def code(self, task: Name) -> TaskCode:
        """What the newest version of a task, or the one of a hash, depends on. Raises: as ``find_one``."""
        self._before()
        return cast("TaskCode", _part("code", "code_of")(self.database, task))

    def diff(self, before: Name, after: Name, *, task: str | None = None) -> Comparison:
        """What sets two executions apart: calls added, removed, changed, run again; results that differ.

        Of one ``task`` alone by its name, whole or without its namespace.
        """
        self._before()
        return cast("Comparison", _part("compare", "compare")(self.database, before, after, task))

    # --- details ------------------------------------------------------------------------------

    def describe(self, found: Named) -> dict[str, Any]:
        """Every column of one record; an execution or job as its view shows it. Raises: IndexError."""
        return self._rows(f"describe {found.kind}", id=found.record_id).dicts()[0]

    def arguments(self, args_hash: str) -> Rows:
        """What a call or a failed job was given: name, type, preview and hash of each argument."""
        return self._rows("arguments", id=args_hash)

    def calls_made(self, call_hash: str, limit: int = 10) -> Rows:
        """The calls that a finished call made, in order: hash, task, result, and how many each stands for.

        They are known whether its body ran, it was walked, or it was replayed with all below it.
        """
        return self._rows("calls made", id=call_hash, most=limit)

    def calls_that_gave(self, value_hash: str, limit: int = 10) -> Rows:
        """Finished calls with this result: task and call hash."""
        return self._rows("calls that gave", id=value_hash, most=limit)

    def calls_given(self, value_hash: str, limit: int = 10) -> Rows:
        """Finished calls that had it as an argument: task, parameter and call hash."""
        return self._rows("calls given", id=value_hash, most=limit)

    def contents(self, path: str, limit: int = 50) -> Rows:
        """The values that were at a path, which is taken as it is: value hash and preview."""
        return self._rows("contents", id=path, most=limit)

    # --- all of it ----------------------------------------------------------------------------

    def payload_digests(self) -> list[Digest]:
        """The payloads that the rows point to in the payload store, in order."""
        return [Digest(digest) for (digest,) in self._rows("payload digests").rows]

    def signed_by(self, value_hash: str) -> list[str]:
        """The ids of the keys that vouch for a value, in order; whether rightly, reading it tells."""
        return [str(key_id) for (key_id,) in self._rows("signed by", id=value_hash).rows]

    def sizes(self) -> tuple[dict[str, int], int, int]:
        """Rows by table, and payload bytes in the database and in the store."""
        counts, ((inline, stored),) = self._rows("counts").rows, self._rows("bytes").rows
        return dict(counts), int(inline), int(stored)

    def query(self, sql: str, limit: int | None = None) -> Rows:
        """Any SELECT of the user's; the database itself refuses to write. Raises: DatabaseError."""
        self._before()
        return ask(self.database, sql, limit)

    def _lineage(self, direction: str, record: Name, **limits: Any) -> Lineage:
        self._before()
        return cast("Lineage", _part("lineage", "lineage_of")(self.database, direction, record, **limits))

    def _rows(self, statement: str, **parameters: Any) -> Rows:
        return Rows(*self.database.table(self._statements[statement], parameters))


def _part(module: str, name: str) -> Any:
    """What answers a question, imported when it is asked: most of it needs SQLAlchemy."""
    return getattr(import_module(f"valuestore.db.history.{module}"), name)
