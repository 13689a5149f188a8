"""Definition: what ``@task`` is put on: whether it can be a task, what it is called, and how it is called.

Bound is what is really called: a wrapper may give arguments itself, or take others than what it wraps. Called
by task.py; it knows no task.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any, get_args, get_origin, get_type_hints

from valuestore.errors import ArgumentError, TaskError, TaskNotFound, ValuestoreWarning
from valuestore.hashing import ATOMS
from valuestore.tasks.call import find_expressions
from valuestore.tasks.renewed import renewed
from valuestore.values.code.ownership import is_own
from valuestore.values.value import find_class, module_name_of, type_name_of

DEFINITION = ("name", "namespace", "version", "tags", "capture", "nout", "script")
"""Options of ``@task`` that say what it is; those of options.py say how it is run."""

_ASIDE = ARGS, _KWARGS, _GIVEN = "*args", "**kwargs", "*given"
"""Names of no parameter: what fits a wrapper alone, as given; which parameters were given their default."""

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_PLAIN = (types.FunctionType, types.MethodType, functools.partial)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


all_tasks: dict[str, Any] = {}
"""Which tasks this program has defined, by full name. Defining one again, as a notebook does, replaces it."""


class Sent:
    """A task in a pickle: by its name where another process finds it so, else as it is."""

    @property
    def has_name(self) -> bool:
        """Whether other processes find it by its module and its name."""
        task: Any = self
        is_placed = task.module not in ("__main__", "__mp_main__") and "<" not in task.__qualname__
        return is_placed and all_tasks.get(task.name) is self

    @property
    def module(self) -> str:
        """Where it is defined."""
        task: Any = self
        return getattr(root_of(task.func), "__module__", None) or "__main__"

    def __reduce__(self) -> tuple[Any, ...]:
        task: Any = self
        if self.has_name:
            return _task_of, (self.module, task.name)
        return copyreg.__newobj__, (type(self),), dict(vars(self))  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, is_copy=True)  # of one that no name leads to
        known = all_tasks.get(state["name"])
        if known is None or "is_copy" in vars(known):  # the sender's is newer
            all_tasks[state["name"]] = self


def _task_of(module: str, name: str) -> Any:
    """The task that a module defines, or of a function in it. Raises: TaskNotFound; ImportError."""
    if name not in all_tasks:
        import_module(module)
    found = all_tasks.get(name) or import_module("valuestore.tasks.control").named(name)  # which stands above
    if found is None:
        raise TaskNotFound(name, ())
    return found


# --- what it is -----------------------------------------------------------------------------------


def checked_function(func: Any) -> Any:
    """The function, as it is kept. Raises: TaskError, saying what to do instead."""
    if isinstance(func, staticmethod):
        func = func.__func__
    name = getattr(func, "__qualname__", type(func).__qualname__)
    if not callable(func):
        raise TaskError(f"@task decorates a function, not a {type(func).__name__}")
    if isinstance(func, type) and find_class(type_name_of(func)) is not func:
        raise TaskError(f"@task decorates a function, and {name} is a class; write a function that makes one")
    for called in (func, vars(type(func)).get("__call__")):
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise TaskError(f"what a generator gives can be taken once; have {name} return a list")
    return func


def root_of(func: Any) -> Any:
    """The function of a partial or a bound method."""
    *_, root = _layers(func)
    return root


def _layers(func: Any) -> Iterator[Any]:
    """A partial or a bound method, what that calls, and so on down to what is neither."""
    while isinstance(func, functools.partial | types.MethodType):
        yield func
        func = func.func if isinstance(func, functools.partial) else func.__func__
    yield func


def bound_to(func: Any) -> list[Any]:
    """What a partial or a bound method brings along; classes are code."""
    found: list[Any] = []
    for layer in _layers(func):
        if isinstance(layer, functools.partial):
            found.append([layer.args, layer.keywords])
        elif isinstance(layer, types.MethodType) and not isinstance(layer.__self__, type):
            found.append(layer.__self__)
    return found


def place_of(func: Any) -> tuple[str, str, str | None]:
    """Module, qualified name and file: where it is defined."""
    root = root_of(func)
    module = module_name_of(getattr(root, "__module__", None) or "")
    qualname = getattr(root, "__qualname__", type(root).__qualname__)
    return module, qualname, getattr(root, "__globals__", {}).get("__file__")


def namespace_of(func: Any) -> str:
    """What its module says in ``valuestore_namespace``, else in ``redun_namespace``; else the module's name.

    Raises: TaskError for what is no str.
    """
    module, _, _ = place_of(func)
    names = getattr(inspect.unwrap(root_of(func)), "__globals__", {})
    for variable in ("valuestore_namespace", "redun_namespace"):
        if variable in names:
            if not isinstance(names[variable], str):
                raise TaskError(f"{variable} = {names[variable]!r} in {module}: it is a str")
            return str(names[variable])
    return module


def check_version(task: Any, known: Any, *, is_at_home: bool) -> None:
    """A version stands for code, so two of one name cannot. Whatever is defined anew may have it again.

    ``known`` has its name, and may be itself. ``is_at_home``: no namespace is given. Raises: TaskError.
    """
    (*here, file), (*there, other) = place_of(task.func), place_of(known.func)
    is_same_version = known.version == task.version
    if is_same_version and (here, file) != (there, other) and _is_other_code(task.func, known.func):
        raise TaskError(
            f"{task.name} of version {task.version} is defined twice, with other code: {'.'.join(there)} in "
            f"{other} and {'.'.join(here)} in {file}; give one of them another name, namespace or version"
        )
    if is_at_home and task.namespace == here[0] in ("__main__", "main"):
        _warn_of_main(task.name, here[0])


def _is_other_code(one: Any, other: Any) -> bool:
    codes = [getattr(root_of(func), "__code__", None) for func in (one, other)]
    parts = [(code.co_code, code.co_consts, code.co_names) for code in codes if code is not None]
    return len(parts) < 2 or parts[0] != parts[1]


@functools.cache
def _warn_of_main(name: str, module: str) -> None:
    warnings.warn(
        f"{name} has a version, and any other {module} may have a task of that name and version; give it a "
        "namespace, such as the project's name",
        ValuestoreWarning,
        stacklevel=5,
    )


def checked_options(
    name: Any, namespace: Any, version: Any, tags: Any, capture: Any, nout: Any
) -> dict[str, Any] | list[tuple[str, Any]]:
    """The tags. Raises: TaskError for an option of another kind, saying what it is."""
    for option, value in (("name", name), ("namespace", namespace)):
        if not isinstance(value, str | None):
            raise TaskError(f"{option}={value!r}: it is a str")
    if not isinstance(version, str | int | None) or isinstance(version, bool):
        raise TaskError(f'version={version!r}: it is a str, such as "1.10", or a whole number')
    if capture not in (False, True, "overwrite"):
        raise TaskError(f"capture={capture!r}: it is False, True or 'overwrite'")
    if nout is not None and (type(nout) is not int or nout < 1):
        raise TaskError(f"nout={nout!r}: it is the number of parts of the result, at least 1")
    try:
        pairs = list(tags.items() if isinstance(tags, Mapping) else tags or ())
        if isinstance(tags, str) or not all(isinstance(key, str) for key, _ in pairs):
            raise TypeError(tags)
    except (TypeError, ValueError):
        raise TaskError(f"tags={tags!r}: it is a dict of names, or pairs") from None
    return dict(pairs) if isinstance(tags, Mapping | None) else pairs


def parts_of_result(func: Any) -> int | None:
    """How many parts a function's result has by its annotation, such as ``tuple[int, str]``, or None."""
    try:
        said = get_type_hints(root_of(func)).get("return")
    except Exception:  # noqa: BLE001  # a name in the annotations that is nowhere defined
        return None
    parts = get_args(said)
    return len(parts) if get_origin(said) is tuple and parts and Ellipsis not in parts else None


# --- how it is called -----------------------------------------------------------------------------


class Binding:
    """The signature that calls are bound to: what a wrapper says that it wraps, if it takes all of that.

    Otherwise what it takes itself. One that takes anything may still give arguments of its own: what does not
    fit what it wraps is kept as it was given, under ``*args`` and ``**kwargs``. Raises: TaskError.
    """

    def __init__(self, name: str, func: Any) -> None:
        self.name = name
        try:
            said = inspect.signature(func)
            taken = _taken(func, said)
        except (TypeError, ValueError):
            reason = "Python cannot tell its parameters; write a function that calls it"
            raise TaskError(f"{name} cannot be a task: {reason}") from None
        is_same = taken is not None and _shapes(said) == _shapes(taken)
        self.passes_on = not is_same and (taken is None or _takes_all(taken, said))
        self.whole = said if is_same or self.passes_on or taken is None else taken
        named = self.whole.parameters.values()
        self.told = tuple([each.name for each in named if _is_job_info(each.annotation, func)])
        """Parameters that are told which job it is, and are no part of its calls."""
        self.signature = self.whole.replace(parameters=[one for one in named if one.name not in self.told])
        self.defaults = _defaults(self.signature)
        called = root_of(func), vars(type(func)).get("__call__")
        self.is_async = any(map(inspect.iscoroutinefunction, called))
        self.lazy = [name for name, value in self.defaults.items() if find_expressions(value)]
        is_counted = is_own(getattr(root_of(func), "__globals__", {}).get("__name__"))
        self.hidden = (
            {}
            if is_counted
            else {n: d for n, d in _defaults(said).items() if n not in self.signature.parameters}
        )
        """Defaults of what a library's wrapper wraps that are no parameters: they count here or nowhere."""
        kinds = {each.kind for each in self.signature.parameters.values()}
        defaults_tell = self.passes_on and bool(self.defaults)
        self.is_simple = kinds <= {Parameter.POSITIONAL_OR_KEYWORD} and not (
            self.hidden or defaults_tell or self.told
        )

    def bind(self, signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """As ``Task.bind``."""
        try:
            given = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            if self.passes_on:
                return {ARGS: args, _KWARGS: dict(kwargs)}
            raise ArgumentError(self.name, str(error)) from None
        same = [name for name in self.defaults.keys() & given if _is_same(given[name], self.defaults[name])]
        return {**given, _GIVEN: sorted(same)} if self.passes_on and same else given

    def check_partial(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raises: ArgumentError if no call can have these arguments."""
        try:
            self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            if not self.passes_on:
                raise ArgumentError(self.name, str(error)) from None

    def complete(self, signature: Signature, given: dict[str, Any]) -> dict[str, Any]:
        """As ``Task.apply_defaults``."""
        aside = {name: given[name] for name in _ASIDE if name in given and self.passes_on}
        if ARGS in aside:
            return {**aside, **self.defaults}
        names = signature.parameters
        unknown = [name for name in given if name not in names and name not in aside]
        if unknown:
            raise ArgumentError(self.name, f"no parameter {unknown[0]!r}")
        bound = _bound(signature, given)
        bound.apply_defaults()
        if self.lazy:
            bound.arguments.update((n, renewed(self.defaults[n])) for n in self.lazy if n not in given)
        missing = [name for name in names if name not in bound.arguments]
        if missing:
            raise ArgumentError(self.name, f"no argument for {missing[0]!r}")
        return {**bound.arguments, **self.hidden, **aside}

    def spelling(
        self, signature: Signature, arguments: Mapping[str, Any], given: Iterable[str]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As ``Task.call_arguments``."""
        if ARGS in arguments and self.passes_on:
            return tuple(arguments[ARGS]), arguments[_KWARGS]
        names = given if given and self.passes_on else arguments
        if not self.told:
            bound = _bound(signature, {name: arguments[name] for name in names})
        else:
            bound = _bound(self.whole, arguments)
        return bound.args, bound.kwargs


def _bound(signature: Signature, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
    own = {name: value for name, value in arguments.items() if name in signature.parameters}
    return inspect.BoundArguments(signature, own)


def _is_job_info(annotation: Any, func: Any) -> bool:
    """Whether it is JobInfo (context.py); a name that leads to nothing yet is taken at its word."""
    if isinstance(annotation, str) and annotation.rpartition(".")[2] == "JobInfo":
        first, *others = annotation.split(".")
        found = getattr(root_of(func), "__globals__", {}).get(first)
        for name in others:
            found = getattr(found, name, None)
        annotation = found
        if found is None:
            return True
    return getattr(annotation, "__module__", "") == "valuestore.tasks.context" and (
        getattr(annotation, "__qualname__", "") == "JobInfo"
    )


def _defaults(signature: Signature) -> dict[str, Any]:
    found = signature.parameters.values()
    return {each.name: each.default for each in found if each.default is not each.empty}


def _is_same(value: Any, default: Any) -> bool:
    """Whether it is known to be the default: a wrapper can tell that from none given."""
    if value is default or type(value) is not type(default) or type(value) not in ATOMS | _CONTAINERS:
        return value is default
    try:
        return bool(value == default)
    except Exception:  # noqa: BLE001  # of arrays, or calls, in a list
        return False


def _taken(func: Any, said: Signature) -> Signature | None:
    """What it takes by itself, whatever it says that it wraps; None for anything at all."""
    kind = type(func)
    if kind in _PLAIN or isinstance(func, type) or isinstance(kind.__call__, types.FunctionType):
        with suppress(ValueError, TypeError):
            return inspect.signature(func, follow_wrapped=False)
    is_cache = isinstance(func, functools._lru_cache_wrapper)
    is_opaque = kind not in _PLAIN and not isinstance(kind.__call__, types.FunctionType)
    return None if hasattr(func, "__wrapped__") and is_opaque and not is_cache else said


def _shapes(signature: Signature) -> list[tuple[Any, ...]]:
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


def _takes_all(taken: Signature, said: Signature) -> bool:
    """Whether what takes this can be given all that is said, by the same names and with the same defaults."""
    kinds = {each.kind for each in taken.parameters.values()}
    if kinds.isdisjoint(_VARIADIC):
        return False
    named = [shape for shape in _shapes(taken) if shape[1] not in _VARIADIC]
    others = _shapes(said)
    positional = [shape for shape in named if shape[1] is not Parameter.KEYWORD_ONLY]
    if others[: len(positional)] != positional or not all(shape in others for shape in named):
        return False
    rest = {shape[1] for shape in others if shape not in named}
    by_name = Parameter.KEYWORD_ONLY in rest or Parameter.VAR_KEYWORD in rest
    by_place = not rest <= {Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD}
    return not (by_name and Parameter.VAR_KEYWORD not in kinds) and not (
        by_place and Parameter.VAR_POSITIONAL not in kinds
    )
