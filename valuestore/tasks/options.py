"""Options: how a task is run, apart from what it computes. None of them counts in what a task or a call is.

What is said at a call goes before what a run is given, that before what ``@task`` says, and that before the
configuration, where ``[tasks."etl.*"]`` has the options of tasks by their names: the longest pattern that
fits goes first. An option at a call may be an expression.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, cast

from valuestore.errors import TaskError
from valuestore.kinds import COUNT, FLAG, POSITIVE, SECONDS, TABLE, TEXT, Kind, hint, kinds_of, setting
from valuestore.tasks.call import Call, Expression

P = ParamSpec("P")
R = TypeVar("R")


def bytes_of(size: int | str) -> int:
    """``8GiB``, ``512 MB`` or a number, in bytes; 0 for a text that is none of these."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:([kmgt])(i?))?b?", str(size).strip().lower())
    if found is None:
        return 0
    number, unit, is_binary = found.groups()
    power = " kmgt".index(unit) if unit else 0
    return int(float(number) * (1024 if is_binary else 1000) ** power)


def _are_errors(value: Any) -> bool:
    classes = value if isinstance(value, tuple | list) else [value]
    return bool(classes) and all(isinstance(one, type) and issubclass(one, Exception) for one in classes)


def _are_limits(value: Any) -> bool:
    is_counted = not isinstance(value, Mapping) or all(map(POSITIVE.takes, value.values()))
    return is_counted and all(map(TEXT.takes, value))


_MEMORY = Kind("a number of bytes, or text such as '8GiB'", (int, str), lambda value: bytes_of(value) > 0)
_NAMED = Kind("a table of names", (Mapping,), lambda value: all(map(TEXT.takes, value)))
_ERRORS = Kind("a class of Exceptions, or several", (type, tuple, list), _are_errors)
_LIMITS = Kind("names of resources, or a table of counts", (Mapping, tuple, list), _are_limits)


@dataclass(frozen=True, slots=True)
class Options:
    """How the calls of a task are run.

    ``cache``               false: the body runs in every execution
    ``executor``            name of the scheduler's executor that runs the body
    ``cpus``, ``memory``    what the body takes there: processors, and bytes, or text such as ``"8GiB"``
    ``resources``           whatever else the executor is to know, such as ``{"GPU": 1}``
    ``retries``             how often the body is run again after an error of ``retry_on``
    ``retry_on``            classes of errors; default: every Exception
    ``retry_wait_seconds``  before the first retry; twice as long before each further one, a minute at most
    ``timeout_seconds``     after that long in its executor a body is given up with ``TaskTimeout``
    ``limits``              what it takes of which resource of ``[limits]`` while it runs
    ``label``, ``tags``     of each job; they are set in every run
    ``prov``                false: what it calls is not recorded, and found again as a whole or not at all
    """

    cache: bool = setting(FLAG, True)
    executor: str | None = setting(TEXT, None)
    cpus: int | None = setting(POSITIVE, None)
    memory: int | None = setting(_MEMORY, None)
    resources: Mapping[str, Any] = setting(_NAMED)
    retries: int = setting(COUNT, 0)
    retry_on: tuple[type[Exception], ...] = setting(_ERRORS, (Exception,))
    retry_wait_seconds: float = setting(SECONDS, 0.1)
    timeout_seconds: float | None = setting(SECONDS, None)
    limits: Mapping[str, int] = setting(_LIMITS)
    label: str | None = setting(TEXT, None)
    tags: Mapping[str, Any] = setting(_NAMED)
    prov: bool = setting(FLAG, True)

    def wait_seconds(self, attempt: int, spread: float) -> float:
        """How long to wait after that many attempts; ``spread`` from 0 to 1 keeps calls apart."""
        return min(60.0, self.retry_wait_seconds * 2.0 ** (attempt - 1)) * (0.5 + spread / 2)


KINDS = kinds_of(Options)
_NORMAL: Mapping[str, Callable[[Any], Any]] = {
    "memory": bytes_of,
    "retry_on": lambda value: tuple(value) if isinstance(value, tuple | list) else (value,),
    "limits": lambda value: dict(value) if isinstance(value, Mapping) else dict.fromkeys(value, 1),
}


def checked(
    given: Mapping[str, Any], said_by: str, *, others: tuple[str, ...] = (), is_at_call: bool = False
) -> dict[str, Any]:
    """These options, each checked, at a call but for expressions; None is as good as not given.

    ``others`` are names that ``said_by`` knows beside them. Raises: TaskError that names one, and says what
    it is.
    """
    found = {}
    for name, value in given.items():
        if name not in KINDS:
            raise TaskError(f"{said_by} has no option {name!r}; {hint(str(name), (*others, *KINDS))}")
        if isinstance(value, Expression) and is_at_call:
            found[name] = value
        elif value is not None:
            if not KINDS[name].takes(value):
                lazy = ", which may be lazy at a call alone" if isinstance(value, Expression) else ""
                raise TaskError(f"{name}={value!r:.60}: it is {KINDS[name].words}{lazy}")
            found[name] = _NORMAL.get(name, _as_it_is)(value)
    return found


def _as_it_is(value: Any) -> Any:
    return value


class RunOptions(TypedDict, total=False):
    """The same, as keywords."""

    cache: bool
    executor: str | None
    cpus: int | None
    memory: int | str | None
    resources: Mapping[str, Any]
    retries: int
    retry_on: type[Exception] | tuple[type[Exception], ...]
    retry_wait_seconds: float
    timeout_seconds: float | None
    limits: Mapping[str, int] | Collection[str]
    label: str | None
    prov: bool


class CallOptions(RunOptions, total=False):
    """At a call they may have tags of its job, too."""

    tags: Mapping[str, Any]


class Configurable(Generic[P, R]):
    """What can be called with options."""

    _task: Any
    _given: Mapping[str, Any]

    def options(self, **options: Unpack[CallOptions]) -> Configured[P, R]:
        """With these options for the calls that are made of it, over those it has; each may be lazy.

        Raises: TaskError for an option that nobody knows, or of another kind.
        """
        return Configured(self._task, {**self._given, **checked(options, "options", is_at_call=True)})

    def update_context(self, context: Mapping[str, Any] | None = None, /, **more: Any) -> Configured[P, R]:
        """With another context for its calls and those below: these keys over those around it."""
        if not isinstance(context, Mapping | None):
            raise TaskError(f"context={context!r:.60}: it is {TABLE.words}")
        updated = merged(self._given.get("context", {}), {**(context or {}), **more})
        return Configured(self._task, {**self._given, "context": updated})

    def partial(self, /, *args: Any, **kwargs: Any) -> Partial[R]:
        """It with some of its arguments given. Raises: ArgumentError if they fit no call."""
        self._task.binding.check_partial(args, kwargs)
        return Partial(cast("Callable[..., R]", self), *args, **kwargs)


class Configured(Configurable[P, R]):
    """A task with options for the calls that are made of it: what ``task.options(...)`` gives."""

    __slots__ = ("_given", "_task")

    def __init__(self, task: Callable[P, R], given: Mapping[str, Any]) -> None:
        self._task = task
        self._given = dict(given)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """A lazy call with these options. Raises: ArgumentError."""
        call: Any = self._task(*args, **kwargs)
        return cast(R, Call(self._task, call._given, call._arguments, self._given))

    def __repr__(self) -> str:
        return f"<{self._task!r} with {', '.join(self._given)}>"


class Partial(functools.partial[R]):
    """A task with some of its arguments given, and perhaps with options: what ``task.partial(...)`` gives."""

    def partial(self, /, *args: Any, **kwargs: Any) -> Partial[R]:
        """With these arguments as well. Raises: ArgumentError if they fit no call."""
        task: Any = self.func
        made: Partial[R] = task.partial(*self.args, *args, **{**self.keywords, **kwargs})
        return made

    def options(self, **options: Unpack[CallOptions]) -> Partial[R]:
        """As of a task."""
        task: Any = self.func
        return Partial(task.options(**options), *self.args, **self.keywords)

    def update_context(self, context: Mapping[str, Any] | None = None, /, **more: Any) -> Partial[R]:
        """As of a task."""
        task: Any = self.func
        return Partial(task.update_context(context, **more), *self.args, **self.keywords)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables as one, tables in them too; ``above`` goes before."""
    found = dict(below)
    for key, value in above.items():
        other = found.get(key)
        is_both = isinstance(other, Mapping) and isinstance(value, Mapping)
        found[key] = merged(cast("Mapping[str, Any]", other), value) if is_both else value
    return found


@dataclass(frozen=True)
class Asked:
    """What a run is asked for beside its expression: see ``Scheduler.run``."""

    on_error: str = "finish"
    errors: str = "first"
    cache: bool = True
    only: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in (("on_error", ("finish", "stop")), ("errors", ("first", "group"))):
            if getattr(self, name) not in choices:
                raise TaskError(f"{name}={getattr(self, name)!r}: it is {choices[0]!r} or {choices[1]!r}")
        for name, kind in (("cache", FLAG), ("options", TABLE), ("context", TABLE)):
            if not kind.takes(getattr(self, name)):
                raise TaskError(f"{name}={getattr(self, name)!r:.60}: it is {kind.words}")
        if self.only and not self.cache:
            raise TaskError("only= says whose bodies run, and cache=False that all do: say one of them")

    def is_forced(self, task: Any) -> bool:
        """Whether the calls of a task are run whatever the cache says."""
        return not self.cache or task.name in self.only


class Resolver:
    """The options of the calls of one run. ``by_task``: of those that say nothing of their own, by id.

    ``is_forced`` says of which tasks the calls are run whatever the cache says, if there are any.
    """

    def __init__(self, configured: Mapping[str, Mapping[str, Any]], asked: Asked) -> None:
        self.asked = asked
        self._given = checked(asked.options, "run")
        self.is_forced = asked.is_forced if asked.only or not asked.cache else None
        by_length = sorted(configured.items(), key=lambda item: (not _is_pattern(item[0]), len(item[0])))
        self._configured = [(pattern, checked(said, f"[tasks.{pattern!r}]")) for pattern, said in by_length]
        self.by_task: dict[int, Options] = {}
        self._tasks: list[object] = []  # kept, or their ids could be those of others

    def of(self, task: Any) -> Options:
        """Those of a task's calls."""
        found = self.by_task.get(id(task))
        if found is None:
            found = self.by_task[id(task)] = self.of_call(task, {})
            self._tasks.append(task)
        return found

    def of_call(self, task: Any, said: Mapping[str, Any]) -> Options:
        """With what is said at the call, all of it there. Raises: TaskError."""
        found: dict[str, Any] = {}
        if not task.is_control:
            for pattern, configured in self._configured:
                if fnmatch.fnmatchcase(task.name, pattern):
                    found |= configured
            found |= {**task.said, **self._given}
        found |= checked({name: value for name, value in said.items() if name != "context"}, task.name)
        return Options(**found)


def _is_pattern(name: str) -> bool:
    return not set("*?[").isdisjoint(name)
