"""Memoize: functions whose results are remembered, called at once: for notebooks, services, other engines.

A call has the identity that a call of the function's task has, and is recorded as one, so that both share
their results. A hit is a lookup, and writes nothing. A miss is a run (run.py) with its body in this thread.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn, ParamSpec, TypeVar, overload

from valuestore.config import environment
from valuestore.db.record.lookup import MISS
from valuestore.errors import TaskError
from valuestore.executors.worker import inside_body
from valuestore.lazy import PerProcess
from valuestore.repository import Repository
from valuestore.scheduler.cache import Cache, Lost
from valuestore.scheduler.code import Code
from valuestore.scheduler.handles import Handles
from valuestore.scheduler.job import Job
from valuestore.scheduler.scheduler import Scheduler
from valuestore.tasks.call import Call, find_expressions
from valuestore.tasks.context import Context
from valuestore.tasks.options import Asked, Resolver
from valuestore.tasks.task import Task, task
from valuestore.values.code.function import names_in
from valuestore.values.code.members import hand_on
from valuestore.values.code.trace import nobodys, reached_function
from valuestore.values.codecs.plain import MAY_GO_STALE
from valuestore.values.handles.journal import journal_kept_by
from valuestore.values.identity.inside import calls_refused
from valuestore.values.value import hooks_in_use

P = ParamSpec("P")
R = TypeVar("R")

Place = Repository | str | Path | None

_CALLER = "the caller's thread"
"""The executor of the function itself; what it returns calls of has others."""
_opened: dict[tuple[str, str | None], PerProcess[Repository]] = {}
"""By working folder and what the environment names: one for all functions that say no repository."""


@overload
def memoize(func: Callable[P, R], /, *, repository: Place = None, **options: Any) -> Callable[P, R]: ...
@overload
def memoize(*, repository: Place = None, **options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def memoize(func: Any = None, /, *, repository: Place = None, **options: Any) -> Any:
    """Remember what a function gives: ``@memoize`` or ``@memoize(version="2")``. It is called as before.

    ``repository`` is one that is open, or where one is, opened at the first call (default: ``.valuestore/``
    here or above). ``options`` are those of ``@task``, without ``executor`` and ``timeout_seconds``. The code
    is looked at when the function is first called in a process, and again when a name in it leads to
    something else; lists and dicts that it names should not change meanwhile. Raises: TaskError.
    """
    if func is None:
        return functools.partial(memoize, repository=repository, **options)
    if inspect.iscoroutinefunction(inspect.unwrap(func)) or inspect.isasyncgenfunction(func):
        name = getattr(func, "__qualname__", func)
        raise TaskError(
            f"memoize gives values at once, and {name} is async; memoize the function that it awaits"
        )
    for name in ("executor", "timeout_seconds"):
        if name in options:
            reason = "the function runs in the thread of who calls it"
            raise TaskError(f"memoize has no option {name!r}: {reason}")
    memo = _Memo(task(func, executor=_CALLER, **options), repository)

    @functools.wraps(func)
    def remembered(*args: Any, **kwargs: Any) -> Any:
        return memo.value(_call(memo.task, args, kwargs))

    return remembered


def _call(task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call as the task makes it; where that is plain, without ``inspect``, which takes a fifth of a hit."""
    given = {**dict(zip(task.parameters, args, strict=False)), **kwargs}
    arguments = {**task.binding.defaults, **given}
    is_plain = task.binding.is_simple and len(given) == len(args) + len(kwargs)
    if not is_plain or arguments.keys() != task.signature.parameters.keys():
        made: Call = task(*args, **kwargs)
        return made
    return Call(task, given, {name: arguments[name] for name in task.parameters})


class _Memo:
    """A task whose calls are answered at once, and what this process knows of its code."""

    def __init__(self, task: Task[..., Any], place: Place) -> None:
        self.task = task
        self._place = place
        self._repository: Repository | None = None
        self._jobs = _NoJobs(task.name)
        self._code: _Code | None = None
        self._of_thread = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Memo, (self.task, self._place)

    @property
    def repository(self) -> Repository:
        """Where results are, opened when it is first asked for."""
        if self._repository is None:
            self._repository = _open(self._place)
        return self._repository

    def value(self, call: Call) -> Any:
        """The value of a call, an object of the caller's own. Raises: what the function raises; TaskError."""
        self.repository.check_open()
        cache = self._cache()
        job = Job(call, None, None, cache.code.options.of(self.task))
        job.replayable = False  # of what returned calls a run knows whether it holds
        with nobodys(), journal_kept_by(cache.handles), calls_refused():
            value = self._found(job, cache)
            is_inside = inside_body.get()
            is_whole = not (job.trace_hash or job.classes_hash)
        if value is not MISS and (is_whole or not is_inside):
            if is_inside and isinstance(function := inspect.unwrap(self.task.func), FunctionType):
                reached_function(function)
            return value
        with nobodys(), journal_kept_by(cache.handles), calls_refused():
            given = {} if value is MISS else {one.name: cache.private_value(one) for one in job.arguments}
        if value is MISS:
            return self._run(call)
        args, kwargs = self.task.call_arguments(given, call._given)
        return self.task.func(*args, **kwargs)  # whose body this is in depends on all that it reaches

    def _found(self, job: Job, cache: Cache) -> Any:
        """What is known of a call, its value or ``MISS``."""
        job.task_hash = cache.code.task_hash(self.task)
        cache.identify(job, self._jobs)
        if "preprocess" in hooks_in_use and any(one.may_go_stale for one in job.arguments):
            return MISS  # handles know by the run which state they are in
        job.result = result = cache.find([job]).get(job.eval_hash)
        if result is None or result.ref is None:
            return MISS
        job.trace_hash = result.trace_hash
        try:
            value = cache.value(job)
        except Lost:
            return MISS
        return MISS if result.ref.codec in MAY_GO_STALE and find_expressions(value) else value

    def _cache(self) -> Cache:
        """This thread's lookups. What is known of the code is known to all threads."""
        code = self._code
        if code is None or not code.is_current():
            code = self._code = _Code(self.repository, self.task)
        cache: Cache | None = getattr(self._of_thread, "cache", None)
        if cache is None or cache.code is not code:
            cache = self._of_thread.cache = Cache(self.repository, Handles(self.repository), code)
        return cache

    def _run(self, call: Call) -> Any:
        """The value of a call that is not known, or returns calls. Raises: TaskError for these in a body."""
        from valuestore.executors.threads import CallersThread  # late: a hit executes nothing

        with Scheduler(self.repository, executors={_CALLER: CallersThread()}, progress=False) as scheduler:
            value = scheduler.run(call)
        counts = scheduler.execution.counts  # type: ignore[union-attr]  # it has run
        if not counts.done:
            self._code = None  # somebody knew it: what is in a list or dict that the code names is another
        if inside_body.get() and self.task.version is None:
            hand_on(self.task.hash(self.repository.archive.registry))
        if inside_body.get() and counts.done + counts.cached > 1:
            problem = (
                "returned calls of tasks, and whose body called it would not run again when these change"
            )
            raise TaskError(f"{self.task.name} {problem}; call it outside of bodies, or make it a task")
        return value


class _Code(Code):
    """The code of one task, as it was at a moment."""

    def __init__(self, repository: Repository, task: Task[..., Any]) -> None:
        settings = repository.settings
        options = Resolver(settings.tasks, Asked())
        super().__init__(repository, self.task_hash, options, Context(settings.context))
        named = [] if task.version else names_in(task.func, repository.archive.registry)
        self._led = [(names, name, found) for names, name, found in named if names.get(name) is found]

    def is_current(self) -> bool:
        """Whether all names in it lead where they did. What lists and dicts hold is not looked at."""
        for names, name, found in self._led:  # noqa: SIM110  # at every call: a generator costs more
            if names.get(name) is not found:
                return False
        return True


class _NoJobs(dict[int, Job]):
    """The jobs of the calls among the arguments: nobody waits for these."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __missing__(self, _: int) -> NoReturn:
        raise TaskError(
            f"{self._name} is called at once, and was given a call that has not run, or has one as a default "
            "(get_context, say): give it the value"
        )


def _open(place: Place) -> Repository:
    """The repository there; for all functions that say no place, one for each working folder."""
    if isinstance(place, Repository):
        return place
    if place is not None:
        return Repository.open(place)
    key = os.getcwd(), environment("repository")
    return _opened.setdefault(key, PerProcess(Repository.open)).get()
