"""Functions, classes and modules as values: by the name they are imported by, one's own by their code too.

What a library holds counts by name, as it does in a task's code. Loading looks a name up among what the
program has imported and imports nothing; what is gone, or has other code now, comes back as a
``MissingFunction``, which makes the cached result that holds it stale.
"""

from __future__ import annotations

import builtins
import functools
import operator
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

from valuestore.errors import MissingFunctionError
from valuestore.hashing import DEFAULT_ALGORITHM, active_algorithm, algorithm_of
from valuestore.values.code.function import code_identity
from valuestore.values.code.ownership import is_own
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.moved import first_name
from valuestore.values.registry import get_type_registry
from valuestore.values.value import Plain, Value, find_object, is_task, module_name_of, module_named


class MissingFunction(Value):
    """In place of a function, class or module that was stored and is not here, or not the same, any more."""

    type_name = "valuestore.MissingFunction"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    def is_valid(self) -> bool:
        """Never: what holds it is computed again."""
        return False

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise MissingFunctionError(self.name, self.reason)

    def __repr__(self) -> str:
        return f"<missing {self.name}: {self.reason}>"


def is_missing_function(obj: object) -> bool:
    """Whether it stands for a function that could not be found when it was loaded."""
    return isinstance(obj, MissingFunction)


# --- names and code ------------------------------------------------------------------------------


def _named(obj: Any) -> Plain:
    """Name, and for one's own code its digest. Raises: Refused, saying why the name does not lead to it."""
    name = _name_of(obj)
    if not is_own(obj.__module__):
        return [name]
    return [name, _code_digest(obj)]


def _name_of(obj: Any) -> str:
    qualname, module_name = obj.__qualname__, obj.__module__
    if module_name == "builtins" and getattr(builtins, qualname, None) is obj:
        return f"builtins.{qualname}"
    kind = "class" if isinstance(obj, type) else "function"
    if "<lambda>" in qualname:
        raise Refused("a lambda has no name to find it by; write it as a function with def, in a module")
    if "<locals>" in qualname:
        raise Refused(f"the {kind} {qualname} is defined inside a function; move it to the top of its module")
    for name in _names(str(module_name or "builtins"), qualname):
        if _is_behind(find_object(name), obj):
            return name
    raise Refused(f"the name {module_name}.{qualname} leads to another object than this {kind}")


def _names(module_name: str, qualname: str) -> list[str]:
    """A library's public name first: where it is defined changes between its versions."""
    if is_own(module_name):
        return [f"{module_name_of(module_name)}.{qualname}"]
    if module_name.startswith("valuestore."):  # whose packages have a name only once somebody asked for it
        return [f"valuestore.{qualname}", first_name(f"{module_name}.{qualname}")]
    packages = module_name.split(".")
    packages[0] = packages[0].lstrip("_")
    public = [".".join(packages[: count + 1]) for count in range(len(packages))]
    python_has_it_in = ("types",) if module_name == "builtins" else ()  # NoneType and its like
    return [f"{package}.{qualname}" for package in (*public, module_name, *python_has_it_in)]


def _is_behind(found: Any, obj: Any) -> bool:
    """Whether what a name leads to is the object, maybe as a method, or as the function of a task."""
    return found is obj or getattr(found, "__func__", None) is obj or _function_of_task(found) is obj


def _function_of_task(found: Any) -> Any:
    return found.func if is_task(found) else None


def _code_digest(obj: Any, algorithm: str = "") -> str:
    registry = get_type_registry().with_algorithm(algorithm or active_algorithm.get())
    return registry.hash(code_identity(obj, registry, defaults=True))


def _find(kind: type | tuple[type, ...], state: Plain) -> Any:
    found = find_object(state[0])
    found = _function_of_task(found) or getattr(found, "__func__", found)
    return _if_current(found if isinstance(found, kind) else None, state)


def _if_current(found: Any, state: Plain) -> Any:
    """What a name leads to, or a ``MissingFunction`` that says what became of it."""
    name, *code = state
    if found is None:
        return MissingFunction(name, "this program has not imported it")
    if code and _code_digest(found, algorithm_of(code[0]) or DEFAULT_ALGORITHM) != code[0]:
        return MissingFunction(name, "its code has changed since it was stored")
    return found


def _by_name(cls: type, type_name: str, *, subclasses: bool = False) -> TypeRule:
    return TypeRule(cls, type_name, _named, functools.partial(_find, cls), subclasses=subclasses)


# --- kinds ---------------------------------------------------------------------------------------


def _builtin_state(function: Any) -> Plain:
    """Functions of a module by name; class methods of Python's own classes (``dict.fromkeys``) by class."""
    owner = function.__self__
    if isinstance(owner, type):
        return [owner, function.__name__]
    if owner is None or isinstance(owner, types.ModuleType):
        return [_name_of(function)]
    raise Refused(
        f"{function.__qualname__} is bound to an object of Python's own; write a function that calls it"
    )


def _builtin(state: Plain) -> Any:
    if len(state) == 1:
        return _find((types.BuiltinFunctionType, types.FunctionType), state)
    owner, name = state
    if isinstance(owner, MissingFunction):
        return owner
    found = next((vars(base)[name] for base in owner.__mro__ if name in vars(base)), None)
    if isinstance(found, staticmethod | types.ClassMethodDescriptorType):
        found = found.__get__(None, owner)
    if not isinstance(found, types.BuiltinFunctionType):
        return MissingFunction(f"{owner.__qualname__}.{name}", "there is no such method")
    return found


def _descriptor_state(method: Any) -> Plain:
    return [method.__objclass__, method.__name__]


def _descriptor(state: Plain) -> Any:
    owner, name = state
    if isinstance(owner, MissingFunction):
        return owner
    return vars(owner).get(name) or MissingFunction(f"{owner.__qualname__}.{name}", "there is no such method")


def _method(state: Plain) -> Any:
    function, owner = state
    return function if isinstance(function, MissingFunction) else types.MethodType(function, owner)


def _module_state(module: types.ModuleType) -> Plain:
    name = module_name_of(module.__name__)
    if sys.modules.get(module.__name__) is not module:
        raise Refused(f"the name {name} leads to another module than this")
    return [name, _code_digest(module)] if is_own(module.__name__) else [name]


def _module(state: Plain) -> Any:
    return _if_current(module_named(state[0]), state)


def _partial_state(partial: functools.partial[Any]) -> Plain:
    parts = [partial.func, partial.args, partial.keywords]
    return [*parts, vars(partial)] if vars(partial) else parts


def _partial(state: Plain) -> functools.partial[Any]:
    function, args, keywords, *attributes = state
    partial = functools.partial(function, *args, **keywords)
    vars(partial).update(*attributes)
    return partial


def _operator_rule(cls: Callable[..., Any]) -> TypeRule:
    def state(getter: Any) -> Plain:
        made, arguments = getter.__reduce__()
        if made is cls:
            return [list(arguments), {}]
        return [list(made.args) + list(arguments), made.keywords]  # methodcaller with keywords

    def getter(state: Plain) -> Any:
        args, keywords = state
        return cls(*args, **keywords)

    return TypeRule(cls, f"operator.{cls.__name__}", state, getter)  # type: ignore[arg-type]  # they are classes


BUILTINS_RULES = [
    _by_name(types.FunctionType, "builtins.function"),
    _by_name(type, "builtins.type", subclasses=True),
    TypeRule(types.BuiltinFunctionType, "builtins.builtin_function", _builtin_state, _builtin),
    *[
        TypeRule(cls, f"builtins.{cls.__name__}", _descriptor_state, _descriptor)
        for cls in (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
    ],
    TypeRule(types.MethodType, "builtins.method", lambda method: [method.__func__, method.__self__], _method),
    TypeRule(types.ModuleType, "builtins.module", _module_state, _module),
]
"""Classes whose ``__module__`` is builtins; found by plugins.py as those of any library."""

FUNCTOOLS_RULES = [
    TypeRule(functools.partial, "functools.partial", _partial_state, _partial),
    _by_name(functools._lru_cache_wrapper, "functools.lru_cache"),
]

OPERATOR_RULES = [
    _operator_rule(cls) for cls in (operator.itemgetter, operator.attrgetter, operator.methodcaller)
]
