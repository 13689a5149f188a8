"""Reduced: the identity of a constant of any class, and what is in it.

Type name and reduction (reduction.py), lowered like any value; classes and functions in it
count by name. Used for constants that a task's code refers to (a compiled pattern, an object of one's
own class). It is an identity only: nothing is stored in this form. ``contents`` finds the functions and
classes that count by name here, for function.py to count by their code.
"""

from __future__ import annotations

import collections
import copyreg
import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from valuestore.hashing import ATOMS, Bytes
from valuestore.values.code.ownership import is_own_class
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.identity.reduction import name_of, reduction
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, type_name_of

_NAMED = (
    type,
    functools._lru_cache_wrapper,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
)
_CODE = (
    type,
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    functools.singledispatchmethod,
    staticmethod,
    classmethod,
    property,
)
_SEQUENCES = (list, tuple, collections.deque)
_LEAVES = ATOMS | {complex}


class Reducing:
    """A registry's rules, but classes and functions by name, and what has no rule by its reduction."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of a class. Never refuses; the rule it makes up may."""
        if issubclass(cls, _NAMED):
            return TypeRule(cls, f"reduced:{type_name_of(cls)}", name_of, _never)
        try:
            rule = self.registry.rule_for(cls)
        except Refused:
            rule = None
        if rule is None or rule.identity is reduction or rule.type_name == "valuestore.Task":
            return TypeRule(cls, f"reduced:{type_name_of(cls)}", reduction, _never)
        return rule

    def rule_named(self, type_name: str, /) -> TypeRule:
        """As the registry has it. Raises: DecodeError."""
        return self.registry.rule_named(type_name)

    def encode_as(self, codec: Codec, obj: object, /) -> Iterable[Bytes]:
        """As the registry does. Raises: UntrustedPayload."""
        return self.registry.encode_as(codec, obj)

    def decode(self, codec: str, type_name: str, data: Bytes, /) -> Any:
        """As the registry does. Raises: DecodeError, UntrustedPayload."""
        return self.registry.decode(codec, type_name, data)


def _never(_state: Plain) -> Any:
    raise AssertionError("a reduced identity is never lifted")


# --- what is in an object -----------------------------------------------------------------------


def contents(obj: Any) -> Iterator[Any]:
    """Whatever inside ``obj`` has code, and each object of an own class in it (``obj`` too), in fixed order.

    Looks into containers and into objects of own classes; what a library's object holds is its affair.
    """
    seen: dict[int, Any] = {}
    pending = [obj]
    while pending:
        item = pending.pop()
        if type(item) in _LEAVES or id(item) in seen:
            continue
        if isinstance(item, _CODE) or _is_task(item):
            yield item  # each time, since lambdas share a name and their order counts
            continue
        seen[id(item)] = item
        if is_own_class(item):
            yield item
        elif item is not obj and hasattr(item, "__wrapped__"):
            yield item
            continue
        pending.extend(reversed(_children(item)))


def _is_task(obj: Any) -> bool:
    return isinstance(getattr(obj, "__valuestore_task__", None), str)


def _children(obj: Any) -> list[Any]:
    children: list[Any] = []
    if isinstance(obj, dict | types.MappingProxyType):
        children = [part for pair in obj.items() for part in pair]
    elif isinstance(obj, _SEQUENCES):
        children = list(obj)
    elif isinstance(obj, set | frozenset):
        children = sorted(obj, key=_order)
    if is_own_class(obj):
        names = copyreg._slotnames(type(obj))  # type: ignore[attr-defined]
        children += [getattr(obj, name) for name in names if hasattr(obj, name)]
    if is_own_class(obj) or isinstance(obj, types.SimpleNamespace):
        children += getattr(obj, "__dict__", {}).values()
    return children


def _order(obj: Any) -> tuple[str, str, str, int]:
    """A place in line that does not depend on where in memory the members of a set are."""
    line = obj.__code__.co_firstlineno if isinstance(obj, types.FunctionType) else 0
    name = getattr(obj, "__qualname__", None)
    return type_name_of(type(obj)), str(getattr(obj, "__module__", "")), str(name), line
