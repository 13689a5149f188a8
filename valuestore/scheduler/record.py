"""Recording: what one run leaves in the database: tasks, arguments, jobs with their calls, and its own row.

It also counts the jobs, and says once for each task that a result of it could not be kept. What runs, and
when, is the run's affair (run.py).
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from valuestore.db.history.code import undeclared_tags
from valuestore.db.history.tags import tag_rows
from valuestore.db.ids import new_id, now
from valuestore.db.record.rows import (
    DependencyRow,
    Evaluation,
    ExecutionRow,
    FinishedJob,
    TaskRow,
    clean_text,
)
from valuestore.errors import ValuestoreWarning
from valuestore.executors.worker import run_body
from valuestore.observe import RunWatch
from valuestore.redaction import redact, redact_command
from valuestore.repository import Repository
from valuestore.scheduler.job import Job, Result
from valuestore.values.archive import ValueRef


class Recording:
    """The rows of one run. Used by its thread alone."""

    def __init__(self, repository: Repository, execution: Execution) -> None:
        self.recorder = repository.recorder
        self.execution = execution
        self.counts = execution.counts
        self._registry = repository.archive.registry
        self._finished: list[FinishedJob] = []
        self._observers, self._place = repository.observers, str(repository.folder)
        self._watch: RunWatch | None = None
        self._warned: set[str] = set()
        self._read: dict[str, set[tuple[str, str]]] = {}

    def begin(self) -> None:
        """The run as it begins."""
        self.recorder.record_execution(self.execution.row())
        if self._observers:
            run = self.execution
            self._watch = RunWatch(self._observers, run.execution_id, run.label, self._place)

    def end(self, status: str) -> None:
        """The run as it ended."""
        self.hand_over()
        self.execution.status = status
        self.execution.ended = now()
        self.counts.running = self.counts.waiting = 0
        self.recorder.record_execution(self.execution.row())
        if self._watch:
            self._watch.close(status, self.execution.seconds)

    def task(self, job: Job, row: TaskRow, dependencies: Sequence[DependencyRow] = ()) -> None:
        """The job's task, with the code that it depends on."""
        self.recorder.record_task(row, dependencies)
        self.recorder.record_tags(tag_rows("task", job.task_hash, job.task.tags))

    def reads(self, job: Job, reads: tuple[tuple[str, str], ...]) -> None:
        """What the job's body used beside its arguments, as tags of its task."""
        if new := set(reads) - self._read.setdefault(job.task_hash, set()):
            self._read[job.task_hash] |= new
            self.recorder.record_tags(tag_rows("task", job.task_hash, undeclared_tags(sorted(new))))

    def started(self, job: Job) -> None:
        """A job whose body is to run."""
        if self._watch:
            self._watch.start(*_who(job))

    def arguments(self, job: Job, refs: Mapping[str, ValueRef]) -> None:
        """What the job's body is given, by the name of the parameter."""
        self.recorder.record_arguments(job.args_hash, refs)

    def step(self, job: Job) -> None:
        """What the body gave, if it is to be kept: calls are still to run before the job is finished."""
        if self._watch:
            self._watch.start(*_who(job))
        if job.evaluated is not None:
            self.recorder.record_evaluation(Evaluation(job.eval_hash, job.trace_hash, job.evaluated))
            job.evaluated = None

    def finished(self, job: Job, result: Result, ended: int) -> None:
        """A job with its result. It lets go of what it was given."""
        job.result = result
        call = job.call_row(result, self._registry.algorithm.name)
        evaluation = None
        if job.evaluated is not None:
            evaluation = Evaluation(job.eval_hash, job.trace_hash, job.evaluated)
        is_known = job.status == "cached" and not job.children
        row = job.row(self.execution.execution_id, ended)
        self._finished.append(FinishedJob(row, call, None if is_known else result.ref, evaluation))
        if job.status == "done":
            self.counts.done += 1
        else:
            self.counts.cached += 1
        job.arguments, job.sources, job.evaluated = [], [], None
        if self._watch:
            self._watch.end(*_who(job), job.status, (ended - job.started) / 1e6)

    def hand_over(self) -> None:
        """Give the recorder the jobs that have finished since."""
        if self._finished:
            finished, self._finished = self._finished, []
            self.recorder.record_jobs(finished)

    def shared(self, twin: Job, first: Job) -> None:
        """An equal call of the same run: it shares the result and is recorded as cached."""
        twin.share(first)
        self._finished.append(FinishedJob(twin.row(self.execution.execution_id, now())))
        self.counts.waiting -= 1
        self.counts.cached += 1
        if self._watch:
            self._watch.end(*_who(twin), "cached")

    def failed(self, job: Job, error: BaseException) -> None:
        """A job that failed, and with it those that wait for what they called."""
        if not job.task_hash:  # the task itself has no identity
            task, job.task_hash = job.task, self._registry.hash(["task", job.task.name, "unidentified"])
            self.task(job, TaskRow(job.task_hash, task.name, task.version, task.source))
        message, described = describe_error(error)
        trace: str | None = described
        failed: Job | None = job
        while failed is not None:
            failed.status = "failed"
            row = failed.row(self.execution.execution_id, now(), message, trace)
            self._finished.append(FinishedJob(row))
            self.counts.failed += 1
            if self._watch:
                seconds = (row.ended - failed.started) / 1e6
                self._watch.end(*_who(failed), "failed", seconds, error, message)
            failed, trace = failed.parent, None
        self.hand_over()

    def warn_not_cached(self, job: Job, reason: str) -> None:
        """Say, once for a task, why a result of it is not kept."""
        if job.task.name not in self._warned:
            self._warned.add(job.task.name)
            problem = f"the result of {job.task.name} is not cached: {reason}"
            warnings.warn(problem, ValuestoreWarning, stacklevel=2)


def _who(job: Job) -> tuple[str, str, str | None]:
    """The job, its task and the job that called it, as observers are told."""
    return job.job_id, job.task.name, job.parent.job_id if job.parent else None


# --- Execution: what is known of one top-level run, while it goes on and afterwards.


_LONGEST_ARGUMENT = 2000


@dataclass
class Counts:
    """How many jobs are where. ``cached`` includes calls that another call of the same run answered."""

    done: int = 0
    cached: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0


@dataclass
class Execution:
    """What is known of a run while it goes on and after it: its id, status, job counts and times.

    ``status`` is running, done, failed or interrupted; times are microseconds since 1970-01-01 UTC;
    ``command`` is the process's command line.
    """

    label: str
    execution_id: str = field(default_factory=new_id)
    status: str = "running"
    started: int = field(default_factory=now)
    ended: int | None = None
    counts: Counts = field(default_factory=Counts)
    command: str = field(default_factory=lambda: command_line(sys.argv))

    @property
    def seconds(self) -> float:
        """Wall time from start to end, or until now."""
        return ((self.ended or now()) - self.started) / 1e6

    def row(self) -> ExecutionRow:
        """The row that records it as it is now."""
        return ExecutionRow(
            self.execution_id, self.label, self.status, self.started, self.ended, now(), self.command
        )


def command_line(arguments: Sequence[str]) -> str:
    """A command line as a JSON list, its secrets hidden and what is long cut."""
    return json.dumps([clean_text(part, _LONGEST_ARGUMENT) for part in redact_command(arguments)])


# --- Failures as text: what is recorded of an exception that a task raised.


_BODY = run_body.__code__


def describe_error(error: BaseException) -> tuple[str, str]:
    """Type and message, and the traceback from the first frame of the task's own on."""
    kind = type(error)
    try:
        text = f"{kind.__module__}.{kind.__qualname__}: {error}".removeprefix("builtins.")
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code is not _BODY:
            trace = trace.tb_next
        if trace is not None and trace.tb_frame.f_code is _BODY and trace.tb_next is not None:
            trace = trace.tb_next
        described = redact("".join(traceback.format_exception(kind, error, trace)))
        return clean_text(redact(text)), clean_text(described, 60_000)
    except Exception as problem:  # noqa: BLE001  # an exception's own __str__ may raise
        return f"{kind.__qualname__} (its text cannot be shown: {type(problem).__name__})", ""
