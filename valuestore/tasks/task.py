"""Task: a named, versioned function whose calls are lazy, cached and recorded.

``@task`` turns a function into one. Calling a task gives a ``Call``, typed as the function's result so
that pipelines type-check; ``Scheduler.run`` gives the result. What a task is, for the cache, is its name
and its code, or its name and its ``version``.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from valuestore.errors import TaskError
from valuestore.hashing import ATOMS, Digest
from valuestore.tasks.call import Call
from valuestore.tasks.definition import (
    ARGS,
    DEFINITION,
    Binding,
    Sent,
    all_tasks,
    bound_to,
    check_version,
    checked_function,
    checked_options,
    namespace_of,
    parts_of_result,
    place_of,
    root_of,
)
from valuestore.tasks.options import Configurable, RunOptions, checked
from valuestore.values.code.function import Dependency, code_and_classes, code_dependencies, code_identity
from valuestore.values.code.ownership import adopt
from valuestore.values.code.source import source_of
from valuestore.values.registry import TypeRegistry

Capture = bool | Literal["overwrite"]
Tags = Mapping[str, Any] | Iterable[tuple[str, Any]]
P = ParamSpec("P")
R = TypeVar("R")

_SCALARS = tuple(ATOMS)
_EMPTY_CELL = types.CellType()


def find_task(name: str) -> Task[..., Any] | None:
    """The task of that full name, or None."""
    return all_tasks.get(name)


class Task(Sent, Configurable[P, R]):
    """A function that the scheduler runs. ``func`` is the function itself, for calling it at once."""

    is_control = False
    """Whether the scheduler itself runs it, and with arguments that are not evaluated (control.py)."""

    def __init__(
        self,
        func: Callable[P, R],
        /,
        *,
        name: str | None = None,
        namespace: str | None = None,
        version: str | int | None = None,
        tags: Tags | None = None,
        capture: Capture = False,
        nout: int | None = None,
        **options: Any,
    ) -> None:
        func = checked_function(func)
        adopt(func)
        self.tags = checked_options(name, namespace, version, tags, capture, nout)
        self.said = checked(options, "@task", others=DEFINITION)
        functools.update_wrapper(self, func, updated=())
        self.func = func
        _, self.__qualname__, _ = place_of(func)
        self.namespace = namespace_of(func) if namespace is None else namespace
        short = name or getattr(func, "__qualname__", "").replace("<locals>.", "")
        if not short:
            raise TaskError(f"a {type(func).__name__} has no name of its own; say it: task(name=...)")
        self.name = f"{self.namespace}.{short}" if self.namespace else short
        if isinstance(func, Task) and func.name == self.name:
            raise TaskError(f"{self.name} is a task already")
        self.version = None if version is None else str(version)
        self.capture = capture
        self._nout = nout
        self.binding = Binding(self.name, func)
        self.signature, self.parameters = self.binding.signature, tuple(self.binding.signature.parameters)
        self._simple = self.binding.is_simple
        self.__valuestore_task__ = self.name
        if self.version is not None:
            check_version(self, all_tasks.get(self.name, self), is_at_home=namespace is None)
        self.is_whole = self.is_control or self.binding.is_async  # found again with all below it, or not
        self._task: Any = self
        self._given: Mapping[str, Any] = {}  # options at a call: none
        all_tasks[self.name] = self

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """A lazy call. Raises: ArgumentError if the arguments do not fit the signature."""
        given = self.bind(args, kwargs)
        return cast(R, Call(self, given, self.apply_defaults(given)))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments given, by parameter name; variadic ones in a tuple or dict. Raises: ArgumentError."""
        if self._simple and not kwargs and len(args) == len(self.parameters):
            return dict(zip(self.parameters, args, strict=True))
        return self.binding.bind(self.signature, args, kwargs)

    def apply_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """All arguments in the signature's order, those not given at their defaults of today.

        Variadic ones hold a tuple or a dict, empty ones included. Raises: ArgumentError if a parameter is
        unknown or has neither argument nor default.
        """
        if self._simple and len(given) == len(self.parameters) and tuple(given) == self.parameters:
            return given
        return self.binding.complete(self.signature, given)

    def call_arguments(
        self, arguments: Mapping[str, Any], given: Iterable[str] = ()
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments; a wrapper that takes anything gets what was ``given``."""
        if self._simple and ARGS not in arguments:
            return tuple(arguments.values()), {}
        return self.binding.spelling(self.signature, arguments, given)

    @property
    def body(self) -> Callable[..., Any]:
        """What an executor runs: the function, unless a kind of task makes more of it."""
        if self.binding.is_async:
            from valuestore.tasks.awaiting import in_own_loop  # late: few programs have such tasks

            return in_own_loop(self.func)
        return self.func

    @property
    def nout(self) -> int | None:
        """How many parts the result has, if the task or its annotation says so."""
        return parts_of_result(self.func) if self._nout is None else self._nout

    def code(self, registry: TypeRegistry) -> dict[str, Digest]:
        """What its results depend on: name -> digest. Raises: NotHashableError (see values/function.py)."""
        return code_identity(self.func, registry)

    def dependencies(self, registry: TypeRegistry) -> list[Dependency]:
        """The parts of ``code`` with their source texts; the function alone if a version identifies it."""
        if self.version is not None:
            return []
        return code_dependencies(self.func, registry=registry)

    @property
    def source(self) -> str:
        """The function's source text, for people; empty if there is none."""
        return source_of(self.func)

    def hash(self, registry: TypeRegistry) -> Digest:
        """Name and version, or name and the code as it is now."""
        return self.identity(registry)[0]

    def identity(self, registry: TypeRegistry) -> tuple[Digest, frozenset[type]]:
        """The hash, and the user's classes whose code is in it. Raises: NotHashableError."""
        if self.version is not None:
            of_version = ["task", self.name, "version", self.version, *self._closure(registry)]
            return registry.hash(of_version), frozenset()
        code, classes = code_and_classes(self.func, registry)
        return registry.hash(["task", self.name, "code", code]), classes

    def _closure(self, registry: TypeRegistry) -> list[Digest]:
        """What tells the products of one factory apart: the scalars it closes over, what it is bound to."""
        cells = getattr(root_of(self.func), "__closure__", None) or ()
        contents = [cell.cell_contents for cell in cells if cell != _EMPTY_CELL]
        scalars = [content for content in contents if isinstance(content, _SCALARS)]
        return [registry.hash(content) for content in (*scalars, *bound_to(self.func))]

    def __get__(self, instance: object, owner: type | None = None) -> Task[P, R]:
        if instance is not None:
            raise TaskError(f"task {self.name} is a method; make it a function that takes the object")
        return self

    def __repr__(self) -> str:
        return f"<task {self.name}>"


@overload
def task(func: Callable[P, R], /, **options: Any) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    namespace: str | None = None,
    version: str | int | None = None,
    tags: Tags | None = None,
    capture: Capture = False,
    nout: int | None = None,
    script: bool = False,
    **options: Unpack[RunOptions],
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(func: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a task: ``@task`` or ``@task(version="2")``.

    ``name``       last part of the full name; default: the function's
    ``namespace``  first part, "" for none; default: the module's ``valuestore_namespace``, or its name
    ``version``    identifies the code instead of the code itself
    ``tags``       labels of this version of the task, as a dict or pairs; values are JSON
    ``capture``    true: the content of local Files in the result is kept in the payload store, and put back
                   if a file is missing; "overwrite": also if it has other content by now
    ``nout``       how many parts the result has, for ``a, b = call``; default: as ``tuple[int, str]`` says
    ``script``     true: the text that the body returns is run as a script; the result is its stdout

    The others say how it is run, not what it is: see ``valuestore.tasks.options.Options``.
    """
    if (is_script := options.pop("script", False)) is not False:  # script.py knows this module, not it that
        return import_module("valuestore.tasks.script").script_task(func, is_script, **options)
    if func is not None:
        return Task(func, **options)
    return lambda function: Task(function, **options)
