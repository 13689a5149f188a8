"""Scheduler: runs calls against a repository.

It holds what outlives a single run: the repository and the executors. One run is an ``Execution``.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock, Thread, current_thread, main_thread
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from valuestore.config import Settings
from valuestore.db.record.rows import hidden_text
from valuestore.errors import (
    ConfigError,
    DatabaseFull,
    StoreReadOnly,
    TaskError,
    TaskNotFound,
    ValuestoreWarning,
)
from valuestore.executors.worker import inside_body
from valuestore.kinds import POSITIVE, TABLE, TEXT
from valuestore.lazy import renew_after_fork
from valuestore.plugins import is_built_in, names
from valuestore.repository import Repository
from valuestore.scheduler.record import LABEL_MAX_CHARS, CallText, Counts, Execution
from valuestore.scheduler.run import Run
from valuestore.tasks.call import Expression
from valuestore.tasks.control import as_task
from valuestore.tasks.definition import all_tasks
from valuestore.tasks.options import Asked, Configurable, Resolver
from valuestore.tasks.task import Task, find_task
from valuestore.values.entry import opened_in
from valuestore.values.identity.inside import find
from valuestore.values.value import hooks_in_use

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future, ThreadPoolExecutor

    from valuestore.scheduler.plan import Plan

R = TypeVar("R")

_RUNS_AT_ONCE = 32


class Scheduler:
    """Runs lazy calls; a context manager that closes what it opened.

    ``repository`` is one that is open, or where to open one (default: ``.valuestore/`` here or above).
    ``executor`` is ``"threads"``, ``"processes"``, ``"dask"``, ``"ray"``, another name that the configuration
    or a plug-in knows, or any ``concurrent.futures.Executor``; default: as configured. ``executors`` maps the
    names that tasks ask for to others. ``workers`` bounds the executors opened here. See docs/executors.md.
    ``progress`` is whether people are shown how runs go (default: as the setting ``progress`` says).
    ``once``: whether runs wait for calls that others are running (docs/once.md; default: by the settings).
    """

    def __init__(
        self,
        repository: Repository | str | Path | None = None,
        *,
        executor: str | Executor | None = None,
        executors: Mapping[str, str | Executor] | None = None,
        workers: int | None = None,
        progress: bool | None = None,
        once: bool | None = None,
    ) -> None:
        self._owns_repository = not isinstance(repository, Repository)
        self.repository = repository if isinstance(repository, Repository) else Repository.open(repository)
        _check(self.repository.settings, executors or {})
        self._given: dict[str | None, str | Executor] = {None: executor or self.repository.settings.executor}
        self._given.update(executors or {})
        self._workers = self.repository.settings.workers if workers is None else workers
        self._progress = self.repository.settings.progress if progress is None else progress
        self._once = self.repository.settings.once if once is None else once
        self._executors: dict[str | Executor, Executor] = {}  # those opened here, by name
        renew_after_fork(self._forget_executors)
        self._running: set[str] = set()
        self._submitted: ThreadPoolExecutor | None = None
        self._submitting = Lock()
        self._beside: list[Thread] = []
        self.execution: Execution | None = None
        """The newest run, with its job counts; also while it goes on."""

    def run(
        self,
        call: R,
        *,
        tags: Mapping[str, Any] | None = None,
        label: str | None = None,
        on_error: Literal["finish", "stop"] = "finish",
        errors: Literal["first", "group"] = "first",
        cache: bool = True,
        only: Iterable[str | Task[..., Any]] = (),
        options: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> R:
        """The value of a call, or of any structure of calls. Calls that were run before are not run again.

        After an error the calls that do not need what failed are run all the same; with ``on_error="stop"``
        only those that have begun. The error is that of the first call of the expression that failed (with
        "stop", of the first to fail), or with ``errors="group"`` an ExceptionGroup of all.

        ``label`` is what the execution is called; default: the call. Without ``cache`` every body runs; with
        ``only`` these tasks' bodies do. ``options`` are those of all tasks (see docs/options.md), ``context``
        what ``get_context`` gives, over that of the configuration. A context of JSON, and the call where a
        label is given, are tags of the execution.

        Raises: what a task raises, with its type and a note of the job; NotHashableError for an argument
        without identity. What finished before the error is recorded and cached.
        """
        self._check_outside()
        for name, said, kind in (("tags", tags, TABLE), ("label", label, TEXT)):
            if said is not None and not kind.takes(said):
                raise TaskError(f"{name}={said!r:.60}: it is {kind.words}")
        shown = str(CallText(call))
        noted: dict[str, Any] = {} if label is None else {"call": shown}
        if context and _is_json(context):
            noted["context"] = context
        tags = {**noted, **(tags or {})}
        asked = Asked(on_error, errors, cache, _names_of(only), options or {}, context or {}, tags)
        label = shown if label is None else hidden_text(label, LABEL_MAX_CHARS)
        execution = self.execution = Execution(label, once=self._once)
        for other in find(call, Expression).others:
            self.repository.archive.registry.check_no_calls(other)
        self._running.add(execution.execution_id)
        try:
            return self._run(execution, call, asked)
        finally:
            self._running.discard(execution.execution_id)

    def submit(self, call: R, **options: Any) -> Future[R]:
        """As ``run`` with these options, in a thread of its own: the future has what that gives or raises.

        Up to 32 run at once; one that waits for its turn can be cancelled. For asyncio:
        ``await asyncio.wrap_future(scheduler.submit(call))``.
        """
        self._check_outside()
        around = inside_body.get()

        def run() -> R:
            inside_body.set(around)
            return self.run(call, **options)

        with self._submitting:
            if self._submitted is None:
                from concurrent.futures import ThreadPoolExecutor  # late, as in ``_executor``

                self._submitted = ThreadPoolExecutor(_RUNS_AT_ONCE, "valuestore-run")
            return self._submitted.submit(run)

    def _check_outside(self) -> None:
        """Raises: TaskError in a body of ours, which would wait for itself."""
        if self._running.intersection(inside_body.get()):
            raise TaskError("a task called run of the scheduler that runs it; let it return the call instead")

    def _run(self, execution: Execution, call: R, asked: Asked) -> R:
        try:
            self.repository.database.check_writable()
            return self._ran(self.repository, execution, call, asked)
        except (StoreReadOnly, DatabaseFull) as error:
            if execution.has_bodies or not self.repository.recorder.drop():
                raise
            warnings.warn(f"nothing of this run is kept: {error}", ValuestoreWarning, stacklevel=3)
            execution.once, execution.counts = False, Counts()
            return self._ran(self.repository.unrecorded(error), execution, call, asked)

    def _ran(self, repository: Repository, execution: Execution, call: R, asked: Asked) -> R:
        at_once = 2 * (self._workers or os.cpu_count() or 1)
        run = Run(repository, self._executor, execution, asked, at_once)
        with run.bodies.interrupts, self._shown(run, execution):
            value: R = run.value_of(call)
        if "opened in" in hooks_in_use:  # as those that a body has just given
            opened_in(repository.archive, repository.archive.registry.iter_values(value))
        if run.beside is not None:
            self._beside.append(run.beside)
        return value

    def _shown(self, run: Run, execution: Execution) -> AbstractContextManager[None]:
        """Within it people are shown how the run goes, if there are any, and this is no run below another."""
        if self._progress is False or inside_body.get() or current_thread() is not main_thread():
            return nullcontext()
        from valuestore import progress  # late: it takes a while, and where it is off nobody needs it

        if not progress.is_watched():
            return nullcontext()
        execution.progress = progress.Progress(execution, lambda: _unfinished(run))
        return progress.shown(execution.progress, at_once=self._progress is True)

    def plan(self, call: Any, *, label: str | None = None, **asked: Any) -> Plan:
        """What ``run`` would do with it, given the same, and why: no body runs, nothing is recorded.

        Raises: as ``run``, but for what tasks raise.
        """
        from valuestore.scheduler.plan import Planning  # late: it asks the history, which few runs do

        told = {name: value for name, value in asked.items() if value is not None}
        return Planning(self.repository, Asked(only=_names_of(told.pop("only", ())), **told), 1).plan(call)

    def close(self) -> None:
        """Stop the executors opened here and close the repository if it was opened here.

        What was submitted and has begun is waited for, and side branches of runs; the rest is cancelled.
        """
        with self._submitting:
            submitted, self._submitted = self._submitted, None
        if submitted is not None:
            submitted.shutdown(cancel_futures=True)
        for thread in self._beside:
            thread.join()
        self._beside.clear()
        for executor in self._executors.values():
            executor.shutdown(wait=False, cancel_futures=True)
        self._executors.clear()
        if self._owns_repository:
            self.repository.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget_executors(self) -> None:
        """In a child process, which has no threads of its parent's."""
        self._executors, self._submitted, self._submitting = {}, None, Lock()

    def _executor(self, name: str | None) -> Executor:
        given = self._given.get(name, str(name))
        if given not in self._executors:
            from concurrent.futures import Executor  # late: where all is cached, nothing is executed

            from valuestore.executors.threads import open_executor

            if isinstance(given, Executor):
                return given
            table = {"workers": self._workers, **self.repository.settings.executors.get(given, {})}
            made = open_executor(table.pop("kind", given), table.pop("workers"), **table)
            return self._executors.setdefault(given, made)  # a run beside this one may have been faster
        return self._executors[given]


def _unfinished(run: Run) -> tuple[Counter[str], Counter[str], set[str]]:
    """By task, the bodies that run now and the calls that are to end; the tasks that make calls.

    Asked by another thread than the run's.
    """
    running = Counter(job.task.name for job in run.bodies.begun())
    jobs = set(run.jobs.copy().values())  # equal calls have one
    unfinished = Counter(job.task.name for job in jobs if job.status in ("waiting", "running"))
    return running, unfinished, {job.task.name for job in jobs if job.children}


def _check(settings: Settings, given: Mapping[str, Any]) -> None:
    """What only a scheduler can tell of them, before the first run. Raises: ConfigError, TaskError."""
    TABLE.check("executors", given)
    Resolver(settings.tasks, Asked())
    kinds: dict[str, object] = (
        {"executor": settings.executor} if settings.executor not in {*settings.executors, *given} else {}
    )
    for name, table in settings.executors.items():
        POSITIVE.check(f"executors.{name}.workers", table.get("workers", 1))
        kinds |= {} if name in given else {f"executors.{name}": table.get("kind", name)}
    for setting, kind in kinds.items():
        if not isinstance(kind, str) or not (is_built_in("executors", kind) or kind in names("executors")):
            raise ConfigError(setting, f"no executor {kind!r}; there are {', '.join(names('executors'))}")


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, sort_keys=True)  # as tags are
    except (TypeError, ValueError):
        return False
    return True


def _names_of(tasks: object) -> frozenset[str]:
    """The names of one or several tasks. Raises: TaskNotFound; TaskError for what is none."""
    if not isinstance(tasks, Iterable) or isinstance(tasks, str | Expression):
        tasks = [tasks]
    return frozenset(map(_name_of, tasks))


def _name_of(task: object) -> str:
    """The name of a task that is defined, which may be short if one alone has it. Raises: as above."""
    if isinstance(task, FunctionType):
        task = as_task(task)
    name = task._task.name if isinstance(task, Configurable) else task
    if not isinstance(name, str):
        raise TaskError(f"only={task!r:.60}: it is tasks, or their names")
    if find_task(name) is not None:
        return name
    known = [each for each in all_tasks if each.rpartition(".")[2] == name]
    if len(known) != 1:
        raise TaskNotFound(name, tuple(known))
    return known[0]
