"""Definition: what ``@task`` is put on: whether it can be a task, what it is called, and how it is called.

Bound is what is really called: a wrapper may give arguments itself, or take others than what it wraps. Called
by task.py; it knows no task.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from inspect import Parameter, Signature
from typing import Any

from valuestore.errors import ArgumentError, TaskError, ValuestoreWarning
from valuestore.hashing import ATOMS
from valuestore.values.code.ownership import is_own
from valuestore.values.value import find_class, module_name_of, type_name_of

OPTIONS = ("name", "namespace", "version", "cache", "tags", "executor", "capture")
_ASIDE = ARGS, _KWARGS, _GIVEN = "*args", "**kwargs", "*given"
"""Names of no parameter: what fits a wrapper alone, as given; which parameters were given their default."""

_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_PLAIN = (types.FunctionType, types.MethodType, functools.partial)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


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
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            raise TaskError(f"@task does not run coroutines yet; make {name} a plain function")
        if inspect.isgeneratorfunction(called):
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
    if is_at_home and here[0] in ("__main__", "main"):
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
    name: Any, namespace: Any, version: Any, cache: Any, tags: Any, executor: Any, capture: Any
) -> dict[str, Any] | list[tuple[str, Any]]:
    """The tags. Raises: TaskError for an option of another kind, saying what it is."""
    for option, value in (("name", name), ("namespace", namespace), ("executor", executor)):
        if not isinstance(value, str | None):
            raise TaskError(f"{option}={value!r}: it is a str")
    if not isinstance(version, str | int | None) or isinstance(version, bool):
        raise TaskError(f'version={version!r}: it is a str, such as "1.10", or a whole number')
    if cache not in (True, False):
        raise TaskError(f"cache={cache!r}: it is True or False")
    if capture not in (False, True, "overwrite"):
        raise TaskError(f"capture={capture!r}: it is False, True or 'overwrite'")
    try:
        pairs = list(tags.items() if isinstance(tags, Mapping) else tags or ())
        if isinstance(tags, str) or not all(isinstance(key, str) for key, _ in pairs):
            raise TypeError(tags)
    except (TypeError, ValueError):
        raise TaskError(f"tags={tags!r}: it is a dict of names, or pairs") from None
    return dict(pairs) if isinstance(tags, Mapping | None) else pairs


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
        self.signature = said if is_same or self.passes_on or taken is None else taken
        self.defaults = _defaults(self.signature)
        is_counted = is_own(getattr(root_of(func), "__globals__", {}).get("__name__"))
        self.hidden = (
            {}
            if is_counted
            else {n: d for n, d in _defaults(said).items() if n not in self.signature.parameters}
        )
        """Defaults of what a library's wrapper wraps that are no parameters: they count here or nowhere."""
        kinds = {each.kind for each in self.signature.parameters.values()}
        defaults_tell = self.passes_on and bool(self.defaults)
        self.is_simple = kinds <= {Parameter.POSITIONAL_OR_KEYWORD} and not (self.hidden or defaults_tell)

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
        bound = _bound(signature, {name: arguments[name] for name in names})
        return bound.args, bound.kwargs


def _bound(signature: Signature, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
    own = {name: value for name, value in arguments.items() if name in signature.parameters}
    return inspect.BoundArguments(signature, own)


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
