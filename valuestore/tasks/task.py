"""Task: a named, versioned function whose calls are lazy, cached and recorded.

``@task`` turns a function into one. Calling a task gives a ``Call``, typed as the function's result so
that pipelines type-check; ``Scheduler.run`` gives the result. What a task is, for the cache, is its name
and its code, or its name and its ``version``.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from valuestore.errors import ArgumentError, TaskError
from valuestore.hashing import ATOMS, Digest
from valuestore.tasks.call import Call
from valuestore.values.code.function import Dependency, code_dependencies, code_identity
from valuestore.values.code.ownership import adopt
from valuestore.values.code.source import source_of
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import module_name_of

Capture = bool | Literal["overwrite"]
P = ParamSpec("P")
R = TypeVar("R")

_SCALARS = tuple(ATOMS)
_EMPTY_CELL = types.CellType()


_tasks: dict[str, Task[..., Any]] = {}
"""Which tasks this program has defined, by full name. Defining one again, as a notebook does, replaces it."""


def find_task(name: str) -> Task[..., Any] | None:
    """The task of that full name, or None."""
    return _tasks.get(name)


class Task(Generic[P, R]):
    """A function that the scheduler runs. ``func`` is the function itself, for calling it at once."""

    def __init__(
        self,
        func: Callable[P, R],
        *,
        name: str | None = None,
        namespace: str | None = None,
        version: str | None = None,
        cache: bool = True,
        tags: Mapping[str, Any] | None = None,
        executor: str | None = None,
        capture: Capture = False,
    ) -> None:
        if not callable(func):
            raise TaskError(f"@task decorates a function, not a {type(func).__name__}")
        if inspect.iscoroutinefunction(func):
            raise TaskError(f"@task does not run coroutines yet; make {func.__qualname__} a plain function")
        adopt(func)
        functools.update_wrapper(self, func, updated=())
        self.func = func
        self.namespace = module_name_of(func.__module__) if namespace is None else namespace
        short = name or func.__qualname__.replace("<locals>.", "")
        self.name = f"{self.namespace}.{short}" if self.namespace else short
        self.version = None if version is None else str(version)
        self.cache = cache
        self.tags = dict(tags or {})
        self.executor = executor
        if capture not in (False, True, "overwrite"):
            raise TaskError(f"capture={capture!r}: it is False, True or 'overwrite'")
        self.capture = capture
        self.signature = inspect.signature(func)
        self.parameters = tuple(self.signature.parameters)
        self._simple = not any(
            p.kind is not p.POSITIONAL_OR_KEYWORD for p in self.signature.parameters.values()
        )
        self._defaults = {
            p.name: p.default for p in self.signature.parameters.values() if p.default is not p.empty
        }
        self.__valuestore_task__ = self.name
        _tasks[self.name] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """A lazy call. Raises: ArgumentError if the arguments do not fit the signature."""
        given = self.bind(args, kwargs)
        return cast(R, Call(self, given, self.apply_defaults(given)))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments given, by parameter name; variadic ones in a tuple or dict. Raises: ArgumentError."""
        if self._simple and not kwargs and len(args) == len(self.parameters):
            return dict(zip(self.parameters, args, strict=True))
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise ArgumentError(self.name, str(error)) from None

    def apply_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        """All arguments in the signature's order, those not given at their defaults of today.

        Variadic ones hold a tuple or a dict, empty ones included. Raises: ArgumentError if a parameter is
        unknown or has neither argument nor default.
        """
        if len(given) == len(self.parameters) and tuple(given) == self.parameters:
            return given
        unknown = [name for name in given if name not in self.signature.parameters]
        if unknown:
            raise ArgumentError(self.name, f"no parameter {unknown[0]!r}")
        bound = inspect.BoundArguments(self.signature, dict(given))
        bound.apply_defaults()
        missing = [name for name in self.parameters if name not in bound.arguments]
        if missing:
            raise ArgumentError(self.name, f"no argument for {missing[0]!r}")
        return dict(bound.arguments)

    def call_arguments(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments that ``bind`` was given, in one canonical spelling."""
        if self._simple:
            return tuple(arguments.values()), {}
        bound = inspect.BoundArguments(self.signature, dict(arguments))
        return bound.args, bound.kwargs

    def code(self, registry: TypeRegistry) -> dict[str, Digest]:
        """What its results depend on: name -> digest. Raises: NotHashableError (see values/function.py)."""
        return code_identity(self.func, registry)

    def dependencies(self, registry: TypeRegistry) -> list[Dependency]:
        """The parts of ``code`` with their source texts; the function alone if a version identifies it."""
        if self.version is not None:
            return []
        return code_dependencies(self.func, registry)

    @property
    def source(self) -> str:
        """The function's source text, for people; empty if there is none."""
        return source_of(self.func)

    def hash(self, registry: TypeRegistry) -> Digest:
        """Name and version, or name and the code as it is now."""
        if self.version is not None:
            return registry.hash(["task", self.name, "version", self.version, *self._closure(registry)])
        return registry.hash(["task", self.name, "code", self.code(registry)])

    def _closure(self, registry: TypeRegistry) -> list[Digest]:
        """What tells the products of one factory apart: the scalars that the function closes over."""
        cells = getattr(self.func, "__closure__", None) or ()
        contents = [cell.cell_contents for cell in cells if cell != _EMPTY_CELL]
        return [registry.hash(content) for content in contents if isinstance(content, _SCALARS)]

    def __get__(self, instance: object, owner: type | None = None) -> Task[P, R]:
        if instance is not None:
            raise TaskError(f"task {self.name} is a method; make it a function that takes the object")
        return self

    def __repr__(self) -> str:
        return f"<task {self.name}>"


@overload
def task(func: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    namespace: str | None = None,
    version: str | None = None,
    cache: bool = True,
    tags: Mapping[str, Any] | None = None,
    executor: str | None = None,
    capture: Capture = False,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(func: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Make a function a task: ``@task`` or ``@task(version="2")``.

    ``name``       last part of the full name; default: the function's
    ``namespace``  first part; default: the module's name, "" for none
    ``version``    identifies the code instead of the code itself
    ``cache``      false: the body runs in every execution
    ``tags``       labels of this version of the task; values are JSON
    ``executor``   name of the scheduler's executor that runs it
    ``capture``    true: the content of local Files in the result is kept in the payload store, and put back
                   if a file is missing; "overwrite": also if it has other content by now
    """
    if func is not None:
        return Task(func)
    return lambda function: Task(function, **options)
