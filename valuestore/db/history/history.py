"""History: what ran, for people. Reads rows; runs no user code and loads no payload.

``executions()``, ``jobs()``, ``calls()``, ``tasks()``, ``values()``, ``files()`` and ``tags()`` are queries
to be refined; records are found by what people call them (names.py); lineage goes up and down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import func, literal, select, text, union_all

from valuestore.db.engine.database import Database
from valuestore.db.history.code import TaskCode, code_of
from valuestore.db.history.compare import Comparer, Comparison
from valuestore.db.history.executions import ExecutionQuery
from valuestore.db.history.jobs import CallQuery, JobQuery
from valuestore.db.history.lineage import DEPTH, ROWS, Lineage, LineageFinder
from valuestore.db.history.names import Found, Name, Named, Names
from valuestore.db.history.query import Context, Query
from valuestore.db.history.records import Record
from valuestore.db.history.sql import Rows, ask
from valuestore.db.history.things import FileQuery, TagQuery, TaskQuery, ValueQuery
from valuestore.db.history.why import Explanation, Forms, WhyFinder
from valuestore.db.schema import tables as schema
from valuestore.hashing import Digest

if TYPE_CHECKING:
    from valuestore.values.registry import TypeRegistry

__all__ = ["Found", "History", "Rows"]

_QUERIES: dict[str, type[Query[Any]]] = {
    "execution": ExecutionQuery,
    "job": JobQuery,
    "call": CallQuery,
    "task": TaskQuery,
    "value": ValueQuery,
    "file": FileQuery,
    "tag": TagQuery,
}

_DESCRIPTIONS = {
    "execution": "SELECT * FROM executions WHERE execution_id = :id",
    "job": "SELECT v.*, j.traceback FROM jobs v JOIN job j ON j.job_id = v.job_id WHERE v.job_id = :id",
    "call": "SELECT c.call_hash, t.task_name AS task, t.task_hash, c.args_hash, c.value_hash, "
    "v.preview AS result, c.task_set_hash, c.external_set_hash, c.replayable FROM call_node c "
    "JOIN task t ON t.task_no = c.task_no LEFT JOIN value v ON v.value_hash = c.value_hash "
    "WHERE c.call_hash = :id",
    "task": "SELECT task_hash, task_name, version, source FROM task WHERE task_hash = :id",
    "value": "SELECT v.value_hash, v.type_name, v.codec, v.payload_digest, v.size, "
    "v.inline IS NOT NULL AS is_inline, v.preview, f.path FROM value v "
    "LEFT JOIN file f ON f.value_hash = v.value_hash WHERE v.value_hash = :id",
    "file": "SELECT path, kind AS file_kind, count(*) AS contents FROM file "
    "WHERE path = :id GROUP BY path, kind",
    "tag": "SELECT tag_id, entity, entity_id, key, value, author, created, ended, ended_by FROM tag "
    "WHERE tag_id = :id",
}


class History:
    """Questions about the past of one database. Constant number of statements each."""

    def __init__(
        self,
        database: Database,
        registry: TypeRegistry | None = None,
        before: Callable[[], object] = lambda: None,
        forms: Forms = lambda _value_hash: None,
    ) -> None:
        self.database = database
        self._why = WhyFinder(database, forms)
        self._context = Context(database, registry, before)
        self._names = Names(database)
        self._lineage = LineageFinder(database)

    # --- queries ------------------------------------------------------------------------------

    def executions(self) -> ExecutionQuery:
        """Runs, newest first."""
        return ExecutionQuery(self._context)

    def jobs(self, execution: str | None = None) -> JobQuery:
        """Jobs, newest first; those of one ``execution`` in the order they were made."""
        jobs = JobQuery(self._context)
        return jobs if execution is None else jobs.where(execution=execution).order("oldest")

    def calls(self) -> CallQuery:
        """Finished calls, newest first."""
        return CallQuery(self._context)

    def tasks(self) -> TaskQuery:
        """Versions of tasks, newest first."""
        return TaskQuery(self._context)

    def values(self) -> ValueQuery:
        """Values, by their hash."""
        return ValueQuery(self._context)

    def files(self) -> FileQuery:
        """Files, by their path; one record for each content."""
        return FileQuery(self._context)

    def tags(self) -> TagQuery:
        """Tags, newest first, with those that ended."""
        return TagQuery(self._context)

    # --- one record ---------------------------------------------------------------------------

    def find(self, prefix: str, limit: int = 10) -> list[Found]:
        """The records whose id starts with ``prefix``; at most ``limit`` of each kind. May be empty."""
        self._context.before()
        return self._names.find(prefix, limit)

    def find_one(self, name: Name) -> Found:
        """The record that is meant by an id's beginning, ``-``, ``~2``, a file's path, or a task's name.

        Raises: RecordNotFound; AmbiguousId, which lists the matches.
        """
        self._context.before()
        return self._names.find_one(name)

    def record(self, name: Name) -> Record:
        """The record that is meant, of a file the one with the first hash. Raises: as ``find_one``."""
        found = self.find_one(name)
        query = _QUERIES[found.kind](self._context)
        if found.kind == "file":  # exactly this path, whatever characters it has
            query = query._with(_conditions=(schema.file.c.path == found.record_id,))
        else:
            query = query._filtered({"id": found.record_id})
        return cast(Record, query.limit(1).one())

    def upstream(
        self, record: Name, *, depth: int = DEPTH, rows: int = ROWS, cursor: str | None = None
    ) -> Lineage:
        """What made a value, file, call's result or job's result, and from what, across executions.

        At most ``rows`` steps, which ``cursor`` continues, and none deeper than ``depth`` calls. Raises:
        RecordNotFound; AmbiguousId; QueryError.
        """
        self._context.before()
        return self._lineage.find("upstream", record, depth=depth, rows=rows, cursor=cursor)

    def downstream(
        self, record: Name, *, depth: int = DEPTH, rows: int = ROWS, cursor: str | None = None
    ) -> Lineage:
        """What used it, and what was made from that; as ``upstream``."""
        self._context.before()
        return self._lineage.find("downstream", record, depth=depth, rows=rows, cursor=cursor)

    def why(self, job: Name) -> Explanation:
        """For what reason a job ran instead of being answered from the cache. Raises: as ``find_one``."""
        self._context.before()
        return self._why.explain(job)

    def code(self, task: Name) -> TaskCode:
        """What the newest version of a task, or the one of a hash, depends on. Raises: as ``find_one``.

        Of a name without its namespace the version that is newest.
        """
        self._context.before()
        named = self.tasks().where(task=task).limit(1).all() if isinstance(task, str) and task else []
        return code_of(self.database, named[0] if named else task)

    def diff(self, before: Name, after: Name) -> Comparison:
        """What sets two executions apart: calls added, removed, changed, run again; results that differ."""
        self._context.before()
        return Comparer(self.database).compare(before, after)

    # --- details ------------------------------------------------------------------------------

    def describe(self, found: Named) -> dict[str, Any]:
        """Every column of one record; an execution or job as its view shows it. Raises: IndexError."""
        return self._rows(_DESCRIPTIONS[found.kind], {"id": found.record_id}).dicts()[0]

    def arguments(self, args_hash: str) -> Rows:
        """What a call or a failed job was given: name, type, preview and hash of each argument."""
        query = (
            "SELECT a.name, v.type_name, v.preview, a.value_hash FROM argument a "
            "LEFT JOIN value v ON v.value_hash = a.value_hash WHERE a.args_hash = :id ORDER BY a.position"
        )
        return self._rows(query, {"id": args_hash})

    def calls_that_gave(self, value_hash: str, limit: int = 10) -> Rows:
        """Finished calls with this result: task and call hash."""
        query = (
            "SELECT t.task_name AS task, c.call_hash FROM call_node c "
            "JOIN task t ON t.task_no = c.task_no WHERE c.value_hash = :id "
            "ORDER BY c.call_no LIMIT :limit"
        )
        return self._rows(query, {"id": value_hash, "limit": limit})

    def calls_given(self, value_hash: str, limit: int = 10) -> Rows:
        """Finished calls that had it as an argument: task, parameter and call hash."""
        query = (
            "SELECT t.task_name AS task, a.name AS parameter, c.call_hash FROM argument a "
            "JOIN call_node c ON c.args_hash = a.args_hash JOIN task t ON t.task_no = c.task_no "
            "WHERE a.value_hash = :id ORDER BY c.call_no LIMIT :limit"
        )
        return self._rows(query, {"id": value_hash, "limit": limit})

    def contents(self, path: str, limit: int = 50) -> Rows:
        """The values that were at a path, which is taken as it is: value hash and preview."""
        query = (
            "SELECT f.value_hash, v.preview FROM file f LEFT JOIN value v ON v.value_hash = f.value_hash "
            "WHERE f.path = :path ORDER BY f.value_hash LIMIT :limit"
        )
        return self._rows(query, {"path": path, "limit": limit})

    # --- all of it ----------------------------------------------------------------------------

    def payload_digests(self) -> list[Digest]:
        """The payloads that the rows point to in the payload store, in order."""
        statement = select(schema.payload.c.payload_digest).order_by(schema.payload.c.payload_digest)
        with self.database.read() as connection:
            return [Digest(digest) for digest in connection.scalars(statement)]

    def sizes(self) -> tuple[dict[str, int], int, int]:
        """Rows by table, and payload bytes in the database and in the store."""
        counts = [
            select(literal(table.name), func.count()).select_from(table)
            for table in schema.metadata.sorted_tables
        ]
        inline = select(func.coalesce(func.sum(schema.value.c.size), 0)).where(
            schema.value.c.inline.is_not(None)
        )
        stored = select(func.coalesce(func.sum(schema.payload.c.size), 0))
        with self.database.read() as connection:
            rows = {row[0]: int(row[1]) for row in connection.execute(union_all(*counts))}
            return rows, int(connection.scalar(inline) or 0), int(connection.scalar(stored) or 0)

    def query(self, sql: str, limit: int | None = None) -> Rows:
        """Any SELECT of the user's; the database itself refuses to write. Raises: DatabaseError."""
        self._context.before()
        return ask(self.database, sql, limit)

    def _rows(self, sql: str, parameters: dict[str, Any]) -> Rows:
        with self.database.read() as connection:
            result = connection.execute(text(sql), parameters)
            return Rows(tuple(result.keys()), [tuple(row) for row in result])
