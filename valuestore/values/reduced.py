"""Reduced: the identity of an object of any class, from what it would be rebuilt from.

Type name and the tree that ``__reduce_ex__`` gives, lowered like any value; classes and functions in it
count by name. Used for constants that a task's code refers to (a compiled pattern, an object of one's
own class). It is an identity only: nothing is stored in this form.
"""

from __future__ import annotations

import copyreg
import types
from typing import Any

from valuestore.values.canonical import Refused, TypeRule
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, type_name_of

_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_PROTOCOL = 4


class Reducing:
    """A registry's rules, and for classes without one a rule made from their reduction."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of a class. Never refuses; the rule it makes up may."""
        try:
            return self.registry.rule_for(cls)
        except Refused:
            describe = _name if issubclass(cls, _NAMED) else _reduction
            return TypeRule(cls, f"reduced:{type_name_of(cls)}", describe, _never)

    def rule_named(self, type_name: str, /) -> TypeRule:
        """As the registry has it. Raises: DecodeError."""
        return self.registry.rule_named(type_name)


def _name(obj: Any) -> Plain:
    return [getattr(obj, "__module__", None), obj.__qualname__]


def _reduction(obj: Any) -> Plain:
    """Callable, arguments, state, items: what pickle would write, without its bytes. Raises: Refused."""
    reduce = copyreg.dispatch_table.get(type(obj))
    try:
        reduced = reduce(obj) if reduce else obj.__reduce_ex__(_PROTOCOL)
    except Exception as error:
        raise Refused(f"it cannot be taken apart ({error})") from error
    if isinstance(reduced, str):
        return ["global", reduced]
    function, arguments, *rest = reduced
    state, list_items, dict_items = [*rest, None, None, None][:3]
    return [
        "reduced",
        _name(function),
        list(arguments),
        state,
        None if list_items is None else list(list_items),
        None if dict_items is None else [list(item) for item in dict_items],
    ]


def _never(_state: Plain) -> Any:
    raise AssertionError("a reduced identity is never lifted")
