"""The query of executions: what it is selected from and filtered by."""

from __future__ import annotations

import os
from typing import Any, Self, Unpack

from sqlalchemy import Select, case, func, literal_column, select

from valuestore.db.history import conditions
from valuestore.db.history.conditions import Condition
from valuestore.db.history.filters import ExecutionsOf, JobsOfCalls, ReadStatus, has_failed, status_is
from valuestore.db.history.jobs import JOB_STATUSES, Filters, RunFilters, Timed
from valuestore.db.history.query import Deferred, Order, Query, Shape, columns_named
from valuestore.db.history.records import ExecutionRecord
from valuestore.db.schema import tables as schema

EXECUTION_STATUSES = ("running", "done", "failed", "interrupted", "crashed")

_run, _job = schema.execution, schema.job


class ExecutionFilters(Filters, RunFilters, total=False):
    """As ``RunFilters`` · ``label``: text that the label contains, as it is · ``task``: one that had a job in
    it · ``file``: a path, pattern allowed, that a job read or gave · ``command_contains``: text of the
    command line.
    """

    label: str | None
    task: str | None
    file: str | os.PathLike[str] | None
    command_contains: str | None


def _with_counts(page: Select[Any], descending: bool) -> Select[Any]:
    """The page with the number of jobs of each execution on it, counted in the same statement."""
    shown = page.cte("page")
    columns = [
        func.count(case((_job.c.status == literal_column(f"'{status}'"), literal_column("1")))).label(name)
        for name, status in (("executed", "done"), ("cached", "cached"), ("failed", "failed"))
    ]
    counts = (
        select(_job.c.execution_no, func.count().label("jobs"), *columns)
        .where(_job.c.execution_no.in_(select(shown.c.execution_no)))
        .group_by(_job.c.execution_no)
        .subquery("counts")
    )
    together = shown.outerjoin(counts, counts.c.execution_no == shown.c.execution_no)
    cached = (func.coalesce(counts.c.cached, literal_column("0")) + shown.c.replayed).label("cached")
    numbers = [counts.c.jobs, counts.c.executed, cached, counts.c.failed]
    order = [column for column in shown.c if column.name.startswith("place_")]
    return (
        select(*shown.c, *numbers)
        .select_from(together)
        .order_by(*[column.desc() if descending else column for column in order])
    )


class ExecutionQuery(Timed, Query[ExecutionRecord]):
    """Executions, newest first: by when they were recorded, for a clock may be wrong."""

    kind = "execution"
    shape = Shape(
        ExecutionRecord,
        {
            **columns_named(_run, "execution_no execution_id label started ended command"),
            "status": ReadStatus(),
            "seconds": _run.c.ended - _run.c.started,
            "replayed": func.coalesce(_run.c.replayed, literal_column("0")),
        },
        _run,
        _run.c.execution_id,
        {
            "newest": Order((_run.c.execution_no,), descending=True),
            "oldest": Order((_run.c.execution_no,), descending=False),
            "longest": Order((func.coalesce(_run.c.ended - _run.c.started, 0),), descending=True),
        },
        _with_counts,
    )

    def where(self, **filters: Unpack[ExecutionFilters]) -> Self:
        """Those that meet all of these: see ``ExecutionFilters``. Raises: QueryError; TagError."""
        return self._filtered(filters)

    def _where_label(self, part: Any) -> Condition:
        return conditions.contains("label", _run.c.label, part)

    def _where_status(self, given: Any) -> Condition:
        return status_is(ReadStatus(), conditions.one_of("status", given, EXECUTION_STATUSES))

    def _where_task(self, pattern: Any) -> Deferred:
        return ExecutionsOf(self._task_is(pattern, _job.c.task_no))

    def _where_file(self, pattern: Any) -> Condition:
        values = conditions.files_at("file", pattern, sqlite=self._sqlite)
        calls, args = conditions.calls_with_file(values), conditions.calls_given(values)
        jobs = JobsOfCalls(calls, args, frozenset(JOB_STATUSES))
        return _run.c.execution_no.in_(jobs.executions())

    def _where_command_contains(self, part: Any) -> Condition:
        return conditions.contains("command_contains", _run.c.command, part)

    def _where_error_contains(self, part: Any) -> Condition:
        failed = select(_job.c.execution_no).where(
            has_failed(), conditions.contains("error_contains", _job.c.error, part)
        )
        return _run.c.execution_no.in_(failed)
