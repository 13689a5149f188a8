"""Recording: what one run leaves in the database: tasks, arguments, jobs with their calls, and its own row.

It also counts the jobs, and says once for each task that a result of it could not be kept. What runs, and
when, is the run's affair (run.py).
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from valuestore.db.ids import new_id, now
from valuestore.db.record.rows import (
    DependencyRow,
    Evaluation,
    ExecutionRow,
    FinishedJob,
    TaskRow,
    clean_text,
    hidden_text,
)
from valuestore.db.record.tag import tag_rows, undeclared_tags
from valuestore.errors import ValuestoreWarning
from valuestore.executors.worker import inside_body
from valuestore.redaction import redact_command
from valuestore.repository import Repository
from valuestore.scheduler.code import AnyTask
from valuestore.scheduler.job import Job, Result
from valuestore.tasks.call import label_of
from valuestore.values.archive import ValueRef
from valuestore.values.code.reads import warn_of

if TYPE_CHECKING:
    from valuestore.observe import RunWatch
    from valuestore.progress import Progress


class Recording:
    """The rows of one run. Used by its thread alone."""

    def __init__(self, repository: Repository, execution: Execution) -> None:
        self.recorder = repository.recorder
        self.execution = execution
        self.counts = execution.counts
        self._registry = repository.archive.registry
        self._finished: list[FinishedJob] = []
        self.leased: dict[str, str] = {}  # what this run holds: job ids by key
        self._released: dict[str, str] = {}
        self._observers, self._place = repository.observers, str(repository.folder)
        self._watch: RunWatch | None = None
        self._warned: set[str] = set()
        self._read: dict[str, set[tuple[str, str]]] = {}

    def begin(self) -> None:
        """The run as it begins."""
        self.recorder.record_execution(self.execution.row())
        logging = sys.modules.get("logging")  # who has not imported it does not listen
        is_heard = logging is not None and logging.getLogger("valuestore.jobs").isEnabledFor(logging.INFO)
        if self._observers or is_heard:
            from valuestore.observe import RunWatch  # late: few runs are observed
            from valuestore.observe.adapters import with_log

            run, observers = self.execution, with_log(self._observers) if is_heard else self._observers
            self._watch = RunWatch(observers, run.execution_id, run.label, self._place)

    def end(self, status: str) -> None:
        """The run as it ended."""
        self._released.update(self.leased)
        self.hand_over()
        self.execution.status = status
        self.execution.ended = now()
        self.execution.progress = None  # which knows all the jobs
        self.counts.running = self.counts.waiting = 0
        self.recorder.record_execution(self.execution.row())
        if self._watch:
            self._watch.close(status, self.execution.seconds)

    def task(self, task: AnyTask, row: TaskRow, dependencies: Sequence[DependencyRow] = ()) -> None:
        """A task that is met, with the code that it depends on."""
        self.recorder.record_task(row, dependencies)
        if self.execution.progress is not None:
            self.execution.progress.names[row.task_hash] = row.task_name
        self.recorder.record_tags(tag_rows("task", row.task_hash, task.tags))

    def reads(self, job: Job, reads: tuple[tuple[str, str], ...], *, say: bool = False) -> None:
        """What the job's body used beside its arguments, as tags of its task; said here, if not there."""
        if new := set(reads) - self._read.setdefault(job.task_hash, set()):
            self._read[job.task_hash] |= new
            self.recorder.record_tags(tag_rows("task", job.task_hash, undeclared_tags(sorted(new))))
            if say:
                warn_of(job.task.name, sorted(new))

    def started(self, job: Job) -> None:
        """A job whose body is to run."""
        if self._watch:
            self._watch.start(*_who(job))

    def arguments(self, job: Job, refs: Mapping[str, ValueRef]) -> None:
        """What the job's body is given, by the name of the parameter."""
        if not job.recorded:
            return
        self.recorder.record_arguments(job.args_hash, refs)

    def step(self, job: Job) -> None:
        """What the body gave, if it is to be kept: calls are still to run before the job is finished."""
        if self._watch:
            self._watch.start(*_who(job))
        if job.evaluated is not None:
            if job.recorded:
                self.recorder.record_evaluation(Evaluation(job.eval_hash, job.trace_hash, job.evaluated))
            elif job.own_externals:
                self.recorder.record_values((job.evaluated,))
            job.evaluated = None
        if job.lease and not job.task.binding.is_async:  # what those gave is found when they are finished
            self._release(job)

    def finished(self, job: Job, result: Result, ended: int) -> None:
        """A job with its result. It lets go of what it was given."""
        job.result = result
        if job.task.is_control and not any(child.status == "done" for child in job.children):
            job.status = "cached"  # nothing ran for it
        call = job.call_row(result, self._registry.algorithm.name)
        evaluation = None
        if job.evaluated is not None:
            evaluation = Evaluation(job.eval_hash, job.trace_hash, job.evaluated)
        is_known = job.status == "cached" and not job.children
        if result.replayed is not None:
            self.counts.replayed += result.replayed.calls - 1
            self.counts.cached += result.replayed.calls - 1
        if not job.recorded and result.ref is not None and result.externals:
            self.recorder.record_values((result.ref,))  # a replay asks whether they are still true
        if job.recorded:
            row = job.row(self.execution.execution_id, ended)
            self._finished.append(FinishedJob(row, call, None if is_known else result.ref, evaluation))
            if job.options.tags or job.options.label:
                self._label(job)
        if job.status == "done":
            self.counts.done += 1
        else:
            self.counts.cached += 1
        if job.lease:
            self._release(job)
        job.arguments, job.sources, job.evaluated = (), (), None
        if self._watch:
            self._watch.end(*_who(job), job.status, (ended - job.started) / 1e6)

    def hand_over(self) -> None:
        """Give the recorder the jobs that have finished since, and the leases that end with them."""
        if self._finished or self._released:
            finished, self._finished = self._finished, []
            released, self._released = self._released, {}
            if self.execution.progress is not None:
                self.execution.progress.ended(job.row for job in finished)
            self.recorder.record_jobs(finished, released)

    def _release(self, job: Job) -> None:
        """End its lease, once what it gave is recorded."""
        self._released[job.lease] = self.leased.pop(job.lease)
        job.lease = ""

    def shared(self, twin: Job, first: Job) -> None:
        """An equal call of the same run: it shares the result and is recorded as cached."""
        twin.share(first)
        if twin.recorded:
            self._finished.append(FinishedJob(twin.row(self.execution.execution_id, now())))
            self._label(twin)
        self.counts.waiting -= 1
        self.counts.cached += 1
        if self._watch:
            self._watch.end(*_who(twin), "cached")

    def failed(self, job: Job, error: BaseException, *, is_own: bool = True) -> None:
        """A job that failed; with the traceback if the error is its own, not that of a call below it."""
        job.error = error
        if job.lease:
            self._release(job)
        if not job.started:  # it waited for what failed, and is none of the jobs
            job.gather(self._registry.algorithm.name)
            job.count = 0
            return
        if not job.task_hash:  # the task itself has no identity
            task, job.task_hash = job.task, self._registry.hash(["task", job.task.name, "unidentified"])
            self.task(task, TaskRow(job.task_hash, task.name, task.version, task.source))
        message, trace = describe_error(error)
        job.status = "failed"
        job.gather(self._registry.algorithm.name)
        row = job.row(self.execution.execution_id, now(), message, trace if is_own else None)
        if job.recorded:
            self._finished.append(FinishedJob(row))
            self._label(job)
        self.counts.failed += 1
        if self._watch:
            self._watch.end(*_who(job), "failed", (row.ended - job.started) / 1e6, error, message)
        job.arguments, job.sources, job.evaluated = (), (), None

    def tag(self, job: Job, tags: Mapping[str, Any]) -> None:
        """Tags of the job."""
        if tags and job.recorded:
            self.recorder.record_tags(tag_rows("job", job.job_id, tags))

    def _label(self, job: Job) -> None:
        label = {"label": job.options.label} if job.options.label else {}
        self.tag(job, {**job.options.tags, **label})

    def warn_not_cached(self, job: Job, reason: str) -> None:
        """Say, once for a task, why a result of it is not kept."""
        if job.task.name not in self._warned:
            self._warned.add(job.task.name)
            problem = f"the result of {job.task.name} is not cached: {reason}"
            warnings.warn(problem, ValuestoreWarning, stacklevel=2)


def _who(job: Job) -> tuple[str, str, str | None, CallText]:
    """The job, its task, the job that called it, and its call, as observers are told."""
    return job.job_id, job.task.name, job.parent.job_id if job.parent else None, CallText(job.call)


@dataclass(frozen=True, slots=True, eq=False)
class CallText:
    """The text of a call, or of what holds some, as people are shown it; made when it is asked for."""

    call: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)

    def __str__(self) -> str:
        return hidden_text(label_of(self.call, LABEL_MAX_CHARS), LABEL_MAX_CHARS)


# --- Execution: what is known of one top-level run, while it goes on and afterwards.


_LONGEST_ARGUMENT = 2000
_MOST_ARGUMENTS = 1000
LABEL_MAX_CHARS = 200


@dataclass
class Counts:
    """How many jobs are where: ``running`` those that an executor has, which may have them wait.

    ``cached`` includes calls that another call of the same run answered, and ``replayed``, too: calls below
    cached ones, which were answered with these and are no jobs.
    """

    done: int = 0
    cached: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    replayed: int = 0


@dataclass
class Execution:
    """What is known of a run while it goes on and after it: its id, status, job counts and times.

    ``status`` is running, done, failed or interrupted; times are microseconds since 1970-01-01 UTC;
    ``command`` is the process's command line. ``around`` are the runs in whose bodies it goes on;
    ``once``: whether it leaves to other runs what they are running, and ``waits_for``: to which, now;
    ``has_bodies``: whether any was to run.
    """

    label: str
    execution_id: str = field(default_factory=new_id)
    around: tuple[str, ...] = field(default_factory=inside_body.get, repr=False)
    once: bool = False
    waits_for: tuple[str, ...] = ()
    status: str = "running"
    started: int = field(default_factory=now)
    ended: int | None = None
    counts: Counts = field(default_factory=Counts)
    command: str = field(default_factory=lambda: command_line(sys.argv))
    progress: Progress | None = field(default=None, repr=False, compare=False)
    has_bodies: bool = field(default=False, repr=False, compare=False)

    @property
    def seconds(self) -> float:
        """Wall time from start to end, or until now."""
        return ((self.ended or now()) - self.started) / 1e6

    def row(self) -> ExecutionRow:
        """The row that records it as it is now."""
        return ExecutionRow(
            self.execution_id,
            self.label,
            self.status,
            self.started,
            self.ended,
            now(),
            self.command,
            self.counts.replayed or None,
        )


def command_line(arguments: Sequence[str]) -> str:
    """A command line as a JSON list, its secrets hidden and what is long cut."""
    longest, most = _LONGEST_ARGUMENT, arguments[:_MOST_ARGUMENTS]
    cut = [hidden_text(one, longest) if len(one) > longest else one for one in most]
    shown = [clean_text(part, longest) for part in redact_command(cut)]
    left_out = [f"... and {len(arguments) - len(cut)} more"] if len(arguments) > len(cut) else []
    return json.dumps(shown + left_out)


# --- Failures as text: what is recorded of an exception that a task raised.


def describe_error(error: BaseException) -> tuple[str, str]:
    """Type and message, and the traceback from the first frame of the task's own on."""
    from valuestore.executors.home import traceback_of  # late: most runs have no failure to describe

    kind = type(error)
    try:
        text = f"{kind.__module__}.{kind.__qualname__}: {error}".removeprefix("builtins.")
        return hidden_text(text), hidden_text(traceback_of(error), 60_000)
    except Exception as problem:  # noqa: BLE001  # an exception's own __str__ may raise
        return f"{kind.__qualname__} (its text cannot be shown: {type(problem).__name__})", ""
