"""The queries of jobs and calls: what each is selected from and filtered by.

Filters of one ``where`` all have to be met, and so do those of several. One that is None is not set, but
for those that are given a value, which may be None.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self, TypedDict, Unpack

from sqlalchemy import Connection, and_, func, literal_column, select

from valuestore.db.history import conditions
from valuestore.db.history.conditions import Condition
from valuestore.db.history.filters import JobsOfCalls, TaskIs, has_failed, status_is
from valuestore.db.history.names import steps_back
from valuestore.db.history.query import Deferred, Order, Query, Shape, columns_named
from valuestore.db.history.records import CallRecord, JobRecord, json_in
from valuestore.db.schema import tables as schema
from valuestore.db.schema.views import seconds_sql, slow_sql
from valuestore.errors import QueryError

JOB_STATUSES = ("done", "cached", "failed")

_CLOCK_MILLISECONDS = 24 * 3600 * 1000
"""How far clocks are taken to be set back."""

_RUNS_AT_ONCE = 500

Moment = datetime | timedelta | None
Seconds = float | timedelta | None
TagFilter = str | Sequence[str] | Mapping[str, Any] | None

_run, _job, _call = schema.execution, schema.job, schema.call_node
_task = schema.task
_job_value = schema.value.alias("result")


class Filtered(Query[Any]):
    """What several kinds have in common."""

    @property
    def _sqlite(self) -> bool:
        return self._context.database.is_sqlite

    def _where_id(self, prefix: Any) -> Condition:
        return conditions.starts_with("id", self.shape.key, prefix)

    def _where_tag(self, given: Any) -> Condition:
        return conditions.tagged("tag", self.kind, self.shape.key, given)

    def _matches(self, name: str, column: Any, pattern: Any) -> Condition:
        return conditions.matches(name, column, pattern, sqlite=self._sqlite)

    def _task_is(self, pattern: Any, column: Any) -> TaskIs:
        return TaskIs(conditions.text_of("task", pattern), column, self._sqlite)

    def _hash(self, name: str, value: Any) -> str:
        """The hash of a value that is given itself. Raises: QueryError; NotHashableError."""
        if self._context.registry is None:
            raise QueryError(name, "this history has no registry to hash values with; give the hash instead")
        return self._context.registry.hash(value)


class Timed(Filtered):
    """What executions and jobs have in common: they began, and took some time."""

    def _where_since(self, when: Any) -> Condition:
        return self.shape.columns["started"] >= conditions.moment_of("since", when)

    def _where_until(self, when: Any) -> Condition:
        return self.shape.columns["started"] < conditions.moment_of("until", when)

    def _where_duration_over(self, length: Any) -> Condition:
        return self.shape.columns["seconds"] > conditions.micros_of("duration_over", length)

    def _where_duration_under(self, length: Any) -> Condition:
        return self.shape.columns["seconds"] < conditions.micros_of("duration_under", length)


class Filters(TypedDict, total=False):
    """Of every kind of record."""

    id: str | None
    tag: TagFilter


class RunFilters(TypedDict, total=False):
    """``status``: one or several · ``error_contains``: text of its error, or of one in it."""

    status: str | Sequence[str] | None
    since: Moment
    until: Moment
    duration_over: Seconds
    duration_under: Seconds
    error_contains: str | None


class CallFilters(Filters, total=False):
    """``task``: full name, last part of it, or a pattern · ``argument``, ``result``: a value itself, or
    one in which it is · ``arguments``: values by parameter name · ``argument_hash``, ``result_hash``:
    by hash or its beginning · ``file``: path or pattern of a file that it was given or gave ·
    ``value_type``: pattern of the result's type.
    """

    task: str | None
    argument: Any
    arguments: Mapping[str, Any] | None
    argument_hash: str | None
    result: Any
    result_hash: str | None
    file: str | os.PathLike[str] | None
    value_type: str | None


# --- jobs -------------------------------------------------------------------------------------------


class JobFilters(CallFilters, RunFilters, total=False):
    """As ``CallFilters`` and ``RunFilters`` · ``execution``: id, ``-`` or ``~2`` · ``execution_tag``: of its
    execution · ``parent``: id of the job that made it.
    """

    execution: str | None
    execution_tag: TagFilter
    parent: str | None


class _CallFilters(Filtered):
    """Filters of calls, which jobs have too."""

    def _of_calls(self, calls: Any, args: Any = None) -> Condition | Deferred:
        raise NotImplementedError

    def _where_argument(self, value: Any) -> Condition | Deferred:
        return self._given(self._hash("argument", value))

    def _where_argument_hash(self, value_hash: Any) -> Condition | Deferred:
        return self._given(value_hash, "argument_hash")

    def _where_arguments(self, given: Any) -> Condition | Deferred:
        if not isinstance(given, Mapping) or not given:
            raise QueryError("arguments", "expected a dict of values by parameter name")
        args: Any = None
        for name, value in given.items():
            one = conditions.calls_given(
                [self._hash("arguments", value)], conditions.text_of("arguments", name)
            )
            args = one if args is None else args.where(schema.argument.c.args_hash.in_(one))
        return self._of_calls(select(_call.c.call_hash).where(_call.c.args_hash.in_(args)), args)

    def _where_result(self, value: Any) -> Condition | Deferred:
        return self._gave(self._hash("result", value))

    def _where_result_hash(self, value_hash: Any) -> Condition | Deferred:
        return self._gave(value_hash, "result_hash")

    def _where_file(self, pattern: Any) -> Condition | Deferred:
        values = conditions.files_at("file", pattern, sqlite=self._sqlite)
        return self._of_calls(conditions.calls_with_file(values), conditions.calls_given(values))

    def _given(self, value_hash: str, name: str = "") -> Condition | Deferred:
        args = conditions.calls_given(conditions.values_with_hash(name, value_hash))
        return self._of_calls(select(_call.c.call_hash).where(_call.c.args_hash.in_(args)), args)

    def _gave(self, value_hash: str, name: str = "") -> Condition | Deferred:
        values = conditions.values_with_hash(name, value_hash)
        return self._of_calls(select(_call.c.call_hash).where(_call.c.value_hash.in_(values)))


_job_source = (
    _job.outerjoin(_run, _run.c.execution_no == _job.c.execution_no)
    .outerjoin(_task, _task.c.task_no == _job.c.task_no)
    .outerjoin(_call, _call.c.call_hash == _job.c.call_hash)
    .outerjoin(_job_value, _job_value.c.value_hash == _call.c.value_hash)
)


class JobQuery(_CallFilters, Timed, Query[JobRecord]):
    """Jobs, newest first."""

    kind = "job"
    shape = Shape(
        JobRecord,
        {
            **columns_named(_job, "job_id parent_id status started error call_hash"),
            "execution_id": _run.c.execution_id,
            "task": _task.c.task_name,
            "task_hash": _task.c.task_hash,
            "seconds": _job.c.ended - _job.c.started,
            "result_type": _job_value.c.type_name,
            "result": _job_value.c.preview,
            "args_hash": func.coalesce(_call.c.args_hash, _job.c.args_hash),
            "value_hash": _call.c.value_hash,
            "calls": func.coalesce(_job.c.calls, literal_column("1")),
        },
        _job_source,
        _job.c.job_id,
        {
            "newest": Order((), descending=True),
            "oldest": Order((), descending=False),
            "slowest": Order(
                (_job.c.ended - _job.c.started,), descending=True, indexed=literal_column(seconds_sql("job"))
            ),
        },
    )
    statuses = frozenset(JOB_STATUSES)

    def where(self, **filters: Unpack[JobFilters]) -> Self:
        """Those that meet all of these: see ``JobFilters``. Raises: QueryError; TagError; NotHashableError.

        With ``status="done"``, jobs by value or file are found by an index; cached ones, which kept no
        more than their call, are looked for among those of the same tasks.
        """
        found = self._filtered(filters)
        if filters.get("status") is not None:
            statuses = frozenset(conditions.one_of("status", filters["status"], JOB_STATUSES))
            found = found._with(statuses=self.statuses & statuses)
        deferred: list[Any] = [
            replace(each, statuses=each.statuses & found.statuses) if isinstance(each, JobsOfCalls) else each
            for each in found._deferred
        ]
        return found._with(_deferred=tuple(deferred))

    def runs(self) -> list[dict[str, Any]]:
        """Each job as a row of a table: what it is, its parameters, its metrics, and its tags.

        Parameters and metrics are what is neither a list nor long in what it was given and gave, as previews
        have it: those in a dict or in fields as ``name.key`` and ``key``, a result that is no dict as
        ``result``. A name that is taken gets ``result.`` or ``tag.`` before it. Tags are those of the job,
        its execution and its result, but for those that say where it ran.
        """
        jobs = self.all()
        parts = (jobs[start : start + _RUNS_AT_ONCE] for start in range(0, len(jobs), _RUNS_AT_ONCE))
        return [row for some in parts for row in self._runs(some)]

    def _runs(self, jobs: list[JobRecord]) -> Iterator[dict[str, Any]]:
        given, tag, file = schema.argument, schema.tag, schema.file
        values = given.outerjoin(schema.value, schema.value.c.value_hash == given.c.value_hash)
        values = values.outerjoin(file, file.c.value_hash == given.c.value_hash)
        arguments = select(given.c.args_hash, given.c.name, schema.value.c.preview, file.c.path)
        arguments = arguments.select_from(values).order_by(given.c.position)
        labels = select(tag.c.entity_id, tag.c.key, tag.c.value).where(tag.c.ended.is_(None))
        ids = {name for job in jobs for name in (job.execution_id, job.job_id, job.value_hash) if name}
        parameters: dict[str | None, dict[str, Any]] = {}
        tags: dict[str | None, dict[str, Any]] = {}
        with self._context.database.read() as connection:
            of_jobs = given.c.args_hash.in_({job.args_hash for job in jobs})
            for args_hash, name, preview, path in connection.execute(arguments.where(of_jobs)):
                parameters.setdefault(args_hash, {}).update({name: path} if path else _cells(name, preview))
            for entity_id, key, value in connection.execute(labels.where(tag.c.entity_id.in_(ids))):
                if key not in ("user", "host") and not key.startswith(("git.", "valuestore.")):
                    tags.setdefault(entity_id, {})[key] = json_in(value)
        for job in jobs:
            row = {"job": job.job_id, "execution": job.execution_id, "started": job.started}
            row |= {"status": job.status, "seconds": job.seconds, **parameters.get(job.args_hash, {})}
            told = tags.get(job.execution_id, {}) | tags.get(job.value_hash, {}) | tags.get(job.job_id, {})
            for kind, cells in (("result", _cells("", job.result)), ("tag", told)):
                row |= {f"{kind}.{name}" if name in row else name: value for name, value in cells.items()}
            yield row

    def _rows(self, connection: Connection, most: int, after: list[Any] | None) -> Sequence[Any]:
        """A page of the slowest has slow jobs alone, if there are enough of these: they have an index."""
        if self._order == "slowest":
            slow = self._with(_conditions=(*self._conditions, literal_column(slow_sql("job"))))
            rows = super(JobQuery, slow)._rows(connection, most, after)
            if len(rows) == most:
                return rows
        return super()._rows(connection, most, after)

    def _of_calls(self, calls: Any, args: Any = None) -> Deferred:
        return JobsOfCalls(calls, args, self.statuses)

    def _where_task(self, pattern: Any) -> Deferred:
        return self._task_is(pattern, _job.c.task_no)

    def _where_status(self, given: Any) -> Condition:
        statuses = conditions.one_of("status", given, JOB_STATUSES)
        return has_failed() if set(statuses) == {"failed"} else status_is(_job.c.status, statuses)

    def _where_execution(self, name: Any) -> Condition:
        return _job.c.execution_no.in_(_executions_named(name))

    def _where_execution_tag(self, given: Any) -> Condition:
        tagged = conditions.tagged("execution_tag", "execution", _run.c.execution_id, given)
        return _job.c.execution_no.in_(select(_run.c.execution_no).where(tagged))

    def _where_parent(self, job_id: Any) -> Condition:
        inside = select(_job.c.execution_no).where(conditions.starts_with("parent", _job.c.job_id, job_id))
        return and_(
            _job.c.execution_no.in_(inside), conditions.starts_with("parent", _job.c.parent_id, job_id)
        )

    def _where_value_type(self, pattern: Any) -> Condition:
        return self._matches("value_type", _job_value.c.type_name, pattern)

    def _where_until(self, when: Any) -> Condition:
        moment = conditions.moment_of("until", when)
        # an id is made before its body begins, so the index can leave out the newer ones; by a wide margin,
        # since ids go on from the last one when a clock is set back
        newest = max(0, moment // 1000 + _CLOCK_MILLISECONDS)
        return and_(_job.c.started < moment, _job.c.job_id < f"{newest:012x}")

    def _where_error_contains(self, part: Any) -> Condition:
        return and_(has_failed(), conditions.contains("error_contains", _job.c.error, part))


def _cells(name: str, preview: str | None) -> dict[str, Any]:
    """The columns that a value has: itself, or what a dict of its preview has."""
    told = json_in(preview or "null")
    if not isinstance(told, dict):
        return {name or "result": told} if not isinstance(told, list) and preview else {}
    prefix = f"{name}." if name else ""
    plain = {key: value for key, value in told.items() if not isinstance(value, dict | list) and key != "..."}
    return {f"{prefix}{key}": value for key, value in plain.items()}


def _executions_named(name: Any) -> Any:
    """The number of the execution that is meant by ``-``, ``~2`` or the beginning of an id."""
    text = conditions.text_of("execution", name)
    if text == "-" or text.startswith("~"):
        if (steps := steps_back(text)) is None:
            raise QueryError("execution", f"{text[:80]!r} is neither - nor ~ with a number")
        return select(_run.c.execution_no).order_by(_run.c.execution_no.desc()).limit(1).offset(steps)
    return select(_run.c.execution_no).where(conditions.starts_with("execution", _run.c.execution_id, text))


# --- calls ------------------------------------------------------------------------------------------


class CallQuery(_CallFilters, Query[CallRecord]):
    """Finished calls, those recorded last first."""

    kind = "call"
    shape = Shape(
        CallRecord,
        {
            **columns_named(_call, "call_hash args_hash value_hash replayable"),
            "task": _task.c.task_name,
            "task_hash": _task.c.task_hash,
            "result_type": _job_value.c.type_name,
            "result": _job_value.c.preview,
        },
        _call.outerjoin(_task, _task.c.task_no == _call.c.task_no).outerjoin(
            _job_value, _job_value.c.value_hash == _call.c.value_hash
        ),
        _call.c.call_hash,
        {
            "newest": Order((_call.c.call_no,), descending=True),
            "oldest": Order((_call.c.call_no,), descending=False),
            "id": Order((), descending=False),
        },
    )

    def where(self, **filters: Unpack[CallFilters]) -> Self:
        """Those that meet all of these: see ``CallFilters``. Raises: as ``JobQuery.where``."""
        return self._filtered(filters)

    def _of_calls(self, calls: Any, args: Any = None) -> Condition:
        return _call.c.call_hash.in_(calls)

    def _where_task(self, pattern: Any) -> Deferred:
        return self._task_is(pattern, _call.c.task_no)

    def _where_value_type(self, pattern: Any) -> Condition:
        return self._matches("value_type", _job_value.c.type_name, pattern)
