"""Filters that depend on the data: a task by its name, jobs by the values that their calls had.

They are resolved when a question is asked, so that each part of it is answered by an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, String, and_, false, func, literal_column, or_, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from valuestore.db.history.conditions import Condition, matches
from valuestore.db.schema import tables as schema
from valuestore.db.schema.views import status_sql

if TYPE_CHECKING:
    from valuestore.db.history.query import Query

FEW_VERSIONS = 16
"""Versions of a task that are searched one by one; with more, their jobs are sorted if they are few, else
picked out of all jobs in order."""

FEW_JOBS = 1000
"""Of a task with fewer jobs the executions are listed; of one with more, looked up one by one."""


class ReadStatus(FunctionElement[str]):
    """The status that an execution reads as: its own, or crashed if it gave no sign of life."""

    inherit_cache = True
    name = "read_status"
    type = String()


@compiles(ReadStatus)
def _read_status(_element: Any, compiler: Any, **_: Any) -> str:
    return status_sql(compiler.dialect.name, "execution")


def status_is(column: ColumnElement[Any], statuses: tuple[str, ...]) -> Condition:
    """One of an enumeration's names, as text: partial indexes are not chosen for parameters."""
    return or_(*[column == literal_column(f"'{status}'") for status in statuses])


def has_failed() -> Condition:
    """Jobs that failed, told so that SQLite takes the index of failures."""
    return and_(status_is(schema.job.c.status, ("failed",)), schema.job.c.job_id > "")


@dataclass(frozen=True)
class TaskIs:
    """Rows of a task: by its full name, its name without the namespace, or a pattern with ``*`` and ``?``."""

    pattern: str
    column: Any
    sqlite: bool

    def alternatives(self, connection: Connection, query: Query[Any]) -> list[Condition]:
        """One for each version, while they are few."""
        of_task = select(schema.task.c.task_no).where(self.condition())
        if getattr(query, "statuses", None) == frozenset({"failed"}):
            return [(self.column + 0).in_(of_task)]  # there are few failures, and they have an index
        numbers = connection.scalars(of_task.limit(FEW_VERSIONS + 1)).all()
        if len(numbers) > FEW_VERSIONS:
            some = select(self.column).where(self.column.in_(of_task)).limit(FEW_JOBS).subquery()
            is_few = (connection.scalar(select(func.count()).select_from(some)) or 0) < FEW_JOBS
            return [(self.column if is_few else self.column + 0).in_(of_task)]  # many are met in order
        return [self.column == number for number in sorted(numbers)] or [false()]

    def condition(self) -> Condition:
        """Which rows of ``task`` are meant."""
        name = schema.task.c.task_name
        whole = matches("task", name, self.pattern, sqlite=self.sqlite)
        if set("*?.") & set(self.pattern):
            return whole
        return or_(whole, matches("task", name, f"*.{self.pattern}", sqlite=self.sqlite))


@dataclass(frozen=True)
class ExecutionsOf:
    """Executions in which a task had a job."""

    task: TaskIs

    def alternatives(self, connection: Connection, query: Query[Any]) -> list[Condition]:
        """The executions of its jobs if these are few, else a look into each execution, newest first."""
        job, task, run = schema.job, schema.task, schema.execution
        some = select(job.c.job_id).where(job.c.task_no == task.c.task_no).limit(FEW_JOBS)
        few = select(func.count()).select_from(some.correlate(task).subquery()).scalar_subquery()
        counts = select(few.label("jobs")).where(self.task.condition()).limit(FEW_JOBS).subquery()
        number = connection.execute(select(func.count(), func.sum(counts.c.jobs)).select_from(counts)).one()
        of_task = select(task.c.task_no).where(self.task.condition())
        jobs = select(job.c.execution_no).where(job.c.task_no.in_(of_task))
        if number[0] < FEW_JOBS and (number[1] or 0) < FEW_JOBS:
            return [run.c.execution_no.in_(jobs)]
        return [jobs.where(job.c.execution_no == run.c.execution_no).exists()]


@dataclass(frozen=True)
class JobsOfCalls:
    """Jobs whose calls are among ``calls``.

    Those that failed, or whose results could not be stored, have no call and are known by their arguments.
    """

    calls: Any
    args: Any
    statuses: frozenset[str]

    def alternatives(self, connection: Connection, query: Query[Any]) -> list[Condition]:
        """One for each status: what ran, what reused it, what failed with the same arguments."""
        return self.conditions() or [false()]

    def conditions(self) -> list[Condition]:
        """As ``alternatives``; none if none of the statuses is wanted."""
        job, call = schema.job, schema.call_node
        is_done = status_is(job.c.status, ("done",))
        found = []
        if "done" in self.statuses:
            found.append(and_(is_done, job.c.call_hash.in_(self.calls)))
        if "done" in self.statuses and self.args is not None:
            found.append(and_(is_done, job.c.call_hash.is_(None), job.c.args_hash.in_(self.args)))
        if "cached" in self.statuses:
            tasks = select(call.c.task_no).where(call.c.call_hash.in_(self.calls))
            cached = status_is(job.c.status, ("cached",))
            found.append(and_(job.c.task_no.in_(tasks), job.c.call_hash.in_(self.calls), cached))
        if "failed" in self.statuses and self.args is not None:
            found.append(and_(has_failed(), job.c.args_hash.in_(self.args)))
        return found

    def executions(self) -> Any:
        """The numbers of their executions."""
        return union_all(*[select(schema.job.c.execution_no).where(each) for each in self.conditions()])
