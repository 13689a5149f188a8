"""Control: what decides, while a pipeline runs, which of its calls run, and what becomes of their results.

``cond``, ``catch`` and their like are calls of tasks that the scheduler runs itself (scheduler/flow.py). They
are given their arguments as expressions. Their bodies are generators: they yield an expression, and are sent
its value, or its error is raised where they yield. What they return may be an expression as well.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from valuestore.errors import ArgumentError, LazyValueError
from valuestore.tasks.call import Call, Expression, Operation, find_expressions
from valuestore.tasks.definition import place_of
from valuestore.tasks.options import Configured
from valuestore.tasks.task import Task, find_task, task
from valuestore.values.value import Value, find_object

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E", bound=Exception)
Steps = Generator[Any, Any, Any]


class Control(Task[P, R]):
    """A task whose body is a generator. ``catches``: errors of what it yields may end there."""

    is_control = True
    catches = False


# --- what a body may yield beside expressions


@dataclass(frozen=True, slots=True)
class Settled:
    """It goes on when the expression is done, without its value; an error is raised."""

    expression: Any


@dataclass(frozen=True, slots=True)
class Outcomes:
    """It is sent, for each of these expressions, a pair: the value and None, or None and the error."""

    expressions: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Calls that are made one by one as workers free up; it is sent the list of their values."""

    calls: Iterator[Any]


@dataclass(frozen=True, slots=True)
class Aside:
    """The expression is run beside everything else; it is sent the Branch."""

    expression: Any


@dataclass(frozen=True, slots=True)
class Joined:
    """It is sent the expression of a side branch that was begun in this run."""

    branch: Branch[Any]


@dataclass(frozen=True, slots=True)
class FromContext:
    """It is sent the Context of its call, and what it gives depends on the value of that key."""

    key: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The expression is kept as it is; it is sent the hash that the repository knows it by, and its tasks."""

    expression: Any


@dataclass(frozen=True)
class Branch(Generic[R]):
    """What ``fork`` gives: stands for a side branch of this run, until ``join`` asks for its value."""

    branch_id: str


def control(name: str, *, catches: bool = False) -> Callable[[Callable[P, Any]], Control[P, Any]]:
    """Make a generator function the body of a control task."""

    def made_of(steps: Callable[P, Any]) -> Control[P, Any]:
        @functools.wraps(steps)
        def begin(*args: P.args, **kwargs: P.kwargs) -> Any:
            return steps(*args, **kwargs)

        begin.__signature__ = inspect.signature(steps)  # type: ignore[attr-defined]  # what inspect looks for
        made: Control[P, Any] = Control(begin, name=name, namespace="valuestore", version="1")
        made.catches = catches
        return made

    return made_of


# --- what is given


def listed(value: Any, asked_by: str) -> list[Any]:
    """Raises: ArgumentError for what is no list; a FileSet or a Dir is one of its Files."""
    if isinstance(value, Value) and isinstance(value, Iterable):
        return list(value)
    if not isinstance(value, list | tuple | range):
        raise ArgumentError(
            asked_by, f"a list is needed, and this is a {type(value).__name__}: {value!r:.60}"
        )
    return list(value)


def callee(function: Any, asked_by: str) -> Any:
    """A function as an argument: a partial, or a task with lazy options, in its parts.

    So calls in these are found.
    """
    if isinstance(function, functools.partial):
        return [callee(function.func, asked_by), list(function.args), function.keywords]
    if isinstance(function, Configured) and find_expressions(function._given):
        return [callee(function._task, asked_by), function._given]
    if not callable(function) and not isinstance(function, Expression):
        raise ArgumentError(asked_by, f"a task or a function is needed, not a {type(function).__name__}")
    return function


def called(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The call of what ``callee`` gave, evaluated. Raises: ArgumentError."""
    if isinstance(function, list) and len(function) == 3:
        inner, more, named = function
        return called(inner, *more, *args, **{**named, **kwargs})
    if isinstance(function, list) and len(function) == 2:
        return Configured(*function)(*args, **kwargs)
    if isinstance(function, Task | Configured):
        return function(*args, **kwargs)
    if isinstance(function, types.FunctionType):
        return as_task(function)(*args, **kwargs)
    if not callable(function):
        raise ArgumentError(
            "valuestore.call",
            f"what is called turned out to be a {type(function).__name__}, no task or function",
        )
    return _apply(function, list(args), kwargs)


@task(name="apply", namespace="valuestore")
def _apply(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def as_task(function: Callable[P, R]) -> Task[P, R]:
    """The task of a plain function, made once; a task is itself. Raises: TaskError.

    It is named for its module, whatever namespace that gives its tasks: by this name it is found again.
    """
    if isinstance(function, Task):
        return cast("Task[P, R]", function)
    module, qualname, _ = place_of(function)
    known = find_task(f"{module}.{qualname}".replace("<locals>.", ""))
    is_known = known is not None and known.func is function
    return cast("Task[P, R]", known) if is_known else Task(function, namespace=module)


def named(name: str) -> Task[..., Any] | None:
    """The task of that name; of a plain function where there is no other."""
    function = None if (found := find_task(name)) else find_object(name)
    return as_task(function) if isinstance(function, types.FunctionType) else found


@control("call")
def _call_lazily(function: Any, args: list[Any], kwargs: dict[str, Any]) -> Steps:
    return called((yield function), *args, **kwargs)


def _call_result(self: Expression, *args: Any, **kwargs: Any) -> Any:
    """A call of what turns out to be a task or a function. Methods are none: they change what they are of."""
    if isinstance(self, Operation) and self._name == "getattr":
        raise LazyValueError(repr(self), "value to call")
    return _call_lazily(self, list(args), kwargs)


setattr(Expression, "__call__", _call_result)  # noqa: B010  # call.py knows no task


# --- which calls run


@overload
def cond(test: Any, then: R, otherwise: S, /) -> R | S: ...
@overload
def cond(test: Any, then: R, test2: Any, then2: S, otherwise: T, /) -> R | S | T: ...
@overload
def cond(test: Any, then: Any, otherwise: Any, /, *more: Any) -> Any: ...
def cond(test: Any, then: Any, otherwise: Any, /, *more: Any) -> Any:
    """``then`` if ``test`` is true, else ``otherwise``; only what is needed runs.

    More tests, each with what it leads to, come before ``otherwise``: ``cond(a, x, b, y, z)``. Raises:
    ArgumentError if the last is left out.
    """
    given = [test, then, otherwise, *more]
    if len(given) % 2 == 0:
        raise ArgumentError("cond", "it takes pairs of a test and what it leads to, and then what else to do")
    return _cond(given)


@control("cond")
def _cond(branches: list[Any]) -> Steps:
    for i in range(0, len(branches) - 1, 2):
        if (yield branches[i]):
            return branches[i + 1]
    return branches[-1]


def seq(expressions: Sequence[R]) -> list[R]:
    """The list of these values, each begun when the one before it is done; one that fails is the last."""
    return cast(list[R], _seq(listed(expressions, "seq")))


@control("seq")
def _seq(expressions: list[Any]) -> Steps:
    for expression in expressions:
        yield Settled(expression)
    return expressions


def const(value: R, expression: Any) -> R:
    """``value``, once ``expression`` is done, too."""
    return cast(R, _const(value, expression))


@control("const")
def _const(value: Any, expression: Any) -> Steps:
    yield Settled([value, expression])
    return value


def identity(value: R) -> R:
    """``value`` as a call: lazy, whatever it is."""
    return cast(R, _identity(value))


@control("identity")
def _identity(value: Any) -> Steps:
    yield Settled(value)
    return value


# --- errors


Classes = type[E] | tuple[type[E], ...]


@overload
def catch(expression: R, errors: Classes[E], recover: Callable[[E], S], /) -> R | S: ...
@overload
def catch(expression: R, errors: Classes[Any], recover: Callable[[Any], S], /, *more: Any) -> R | S | Any: ...
def catch(expression: Any, errors: Any, recover: Any, /, *more: Any) -> Any:
    """The value of ``expression``, or if it fails with one of ``errors``, what ``recover`` gives for that.

    ``recover`` is a task or function of one argument. More classes of errors, each with its recovery, may
    follow; the first that fits is taken. The error is that of the first call in ``expression`` that failed,
    once all of them are done. Raises: ArgumentError for what is no class of errors, or no function.
    """
    given = [errors, recover, *more]
    if len(given) % 2:
        raise ArgumentError("catch", "each class of errors is followed by what to do then")
    handlers: list[Any] = []
    for i in range(0, len(given), 2):
        handlers += [_error_classes(given[i], "catch"), callee(given[i + 1], "catch")]
    return _catch(expression, handlers)


@control("catch", catches=True)
def _catch(expression: Any, handlers: list[Any]) -> Steps:
    try:
        yield Settled(expression)
    except Exception as error:
        pairs = zip(handlers[::2], handlers[1::2], strict=True)
        recover = next((one for classes, one in pairs if isinstance(error, tuple(classes))), None)
        if recover is None:
            raise
        caught = error
    else:
        return expression
    return called((yield recover), caught)


def catch_all(expressions: Any, errors: Classes[Any], recover: Callable[[list[Any]], Any], /) -> Any:
    """The list of these values, or if some fail with ``errors``, what ``recover`` gives.

    All of them are run to their end. ``recover`` takes a list as long as theirs, in which errors stand where
    values would. ``expressions`` may be a lazy list: of ``map_`` and ``starmap`` each item counts by
    itself; if what makes the list fails, so does this.
    Raises: ArgumentError.
    """
    return _catch_all(expressions, _error_classes(errors, "catch_all"), callee(recover, "catch_all"))


@control("catch_all", catches=True)
def _catch_all(expressions: Any, classes: list[Any], recover: Any) -> Steps:
    given = expressions
    if isinstance(expressions, Call) and isinstance(expressions._task, Control):  # of map_, say: its items
        args, kwargs = expressions._task.call_arguments(expressions._arguments, expressions._given)
        given = yield from _undrawn(expressions._task.func(*args, **kwargs))
    if isinstance(given, Expression):
        given = yield given
    outcomes = yield Outcomes(listed(given, "catch_all"))
    failed = [error for _, error in outcomes if error is not None]
    if not failed:
        return list(given)
    for error in failed:
        if not isinstance(error, tuple(classes)):
            raise error
    found = [value if error is None else error for value, error in outcomes]
    return called((yield recover), found)


def _undrawn(steps: Steps) -> Steps:
    """As these steps, but for calls that they would draw, of which they give the list."""
    try:
        asked = next(steps)
        while not isinstance(asked, Drawn):
            try:
                value = yield asked
            except Exception as error:  # noqa: BLE001  # theirs to handle
                asked = steps.throw(error)
            else:
                asked = steps.send(value)
    except StopIteration as end:
        return end.value
    return list(asked.calls)


def throw(error: BaseException) -> Any:
    """An expression that fails with ``error``. Raises: ArgumentError if it is none."""
    if not isinstance(error, Exception):
        raise ArgumentError("throw", f"an Exception is needed, not a {type(error).__name__}")
    return _throw(error)


@control("throw")
def _throw(error: Exception) -> Steps:
    yield from ()
    raise error


def _error_classes(errors: Any, asked_by: str) -> list[Any]:
    classes = list(errors) if isinstance(errors, tuple) else [errors]
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise ArgumentError(asked_by, f"{one!r} is no class of Exceptions")
    return classes


# --- side branches


def fork(expression: R) -> Branch[R]:
    """Begin a side branch: nothing waits for it, and nothing fails with it, but what ``join`` gives."""
    return cast("Branch[R]", _fork(expression))


@control("fork")
def _fork(expression: Any) -> Steps:
    return (yield Aside(expression))


def join(branch: Branch[R]) -> R:
    """The value of a side branch, once it is done. Fails as it does; in another run with ArgumentError."""
    return cast(R, _join(branch))


@control("join")
def _join(branch: Any) -> Steps:
    found = yield branch
    if not isinstance(found, Branch):
        raise ArgumentError("join", f"what fork gives is needed, not a {type(found).__name__}")
    return (yield Joined(found))
