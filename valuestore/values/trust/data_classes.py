"""Data classes: classes whose objects are their fields, so that building one from any state runs nothing.

A dataclass, an attrs, pydantic or msgspec class, a named tuple, an enum, an exception without attributes, or
a ``Value`` that leaves identity and state to its attributes; of the user's own modules; and without a method
that Python calls by itself on an object whose state somebody made up. Called by kinds.py.
"""

from __future__ import annotations

import abc
import enum
import types
import typing
from typing import Any

from valuestore.values.code.ownership import is_own
from valuestore.values.identity.attributes import HEAP_TYPE, layout_of
from valuestore.values.identity.canonical import NODE, TypeRule
from valuestore.values.value import Value

_HOOKS = (
    "__del__",
    "__delattr__",
    "__getattr__",
    "__getattribute__",
    "__new__",
    "__setattr__",
    "__setstate__",
)
_KEY_HOOKS = ("__eq__", "__hash__")
_VALUE_HOOKS = (
    "external",
    "from_state",
    "identity",
    "is_valid",
    "iter_subvalues",
    "postprocess",
    "preprocess",
    "state",
)
_MAKERS = frozenset(
    ["abc", "attr", "builtins", "collections", "dataclasses", "enum", "msgspec", "pydantic", "typing"]
)
"""Whose classes and decorators write such methods themselves, and look at fields alone in them."""
_METACLASSES: tuple[type, ...] = (type, abc.ABCMeta, enum.EnumMeta, type(typing.Protocol))
_MOST_NAMES = 200


def why_not_data(rule: TypeRule) -> str:
    """Why values of this rule need a signature; empty if the class is a data class."""
    cls = rule.type
    if not rule.family:
        return "it is no data class"
    if type(cls) not in _METACLASSES and _root(type(cls).__module__) not in ("pydantic", "msgspec"):
        return "its class has a metaclass"
    if rule.family == "enum":
        return ""  # its members are there already
    if rule.family == "exception" and not cls.__flags__ & HEAP_TYPE:
        return "" if cls.__module__ == "builtins" else "its class is no data class of this program"
    if not (is_own(cls.__module__) or _root(cls.__module__) == "valuestore"):
        return "its class is no data class of this program"
    if rule.family == "value" and (hook := _own(cls, _VALUE_HOOKS, Value)):
        return f"its class has a {hook} of its own"
    hook = _own(cls, _HOOKS, object)
    return f"its class has a {hook} of its own" if hook else ""


def is_key_safe(rule: TypeRule) -> bool:
    """Whether hashing and comparing such objects runs no code of the user's."""
    return rule.family == "enum" or not _own(rule.type, _KEY_HOOKS, object)


def _own(cls: type, hooks: tuple[str, ...], root: type) -> str:
    """The first of these methods that a class between this one and ``root`` has by its own hand."""
    for base in cls.__mro__[: cls.__mro__.index(root)]:
        for hook in hooks:
            member = vars(base).get(hook)
            if member is not None and not (root is object and _is_made(base, member)):
                return hook
    return ""


def _is_made(base: type, member: Any) -> bool:
    """Whether a library made that method, or it comes with a class of Python or of such a library."""
    if _root(base.__module__) in (*_MAKERS, "valuestore"):
        return True
    function = member.__func__ if type(member) is staticmethod else member
    if type(function) is not types.FunctionType:
        return type(function) in (types.WrapperDescriptorType, types.BuiltinFunctionType)
    made_in = str(function.__globals__.get("__name__", ""))
    code = function.__code__
    return (
        _root(made_in) in _MAKERS
        or made_in.startswith("namedtuple_")
        or code.co_qualname.startswith("__create_fn__.")  # of dataclasses
        or code.co_filename.startswith("<attrs generated ")
    )


def _root(module_name: Any) -> str:
    return str(module_name).partition(".")[0]


# --- states ---------------------------------------------------------------------------------------


def fields_check(rule: TypeRule) -> Any:
    """Whether a state, nothing in it built yet, is made of fields that this class may have."""
    cls: Any = rule.type
    if rule.family == "exception":
        return lambda state: type(state) is dict and [*state] == ["args"] and type(state["args"]) is list
    if rule.family == "enum":
        return lambda state: _is_member(cls, state)
    if rule.family == "msgspec":
        known = frozenset(cls.__struct_fields__)
        # where one is missing, that is what is said of it
        return lambda state: type(state) is dict and (state.keys() <= known or not known <= state.keys())
    names = _Names(cls)
    return names.fit_model if rule.family == "pydantic" else names.fit


def _is_member(cls: Any, state: Any) -> bool:
    """A member's name, or the sum of some where summing them up is left to Python."""
    if type(state) is not dict or state.keys() != {"name", "value"}:
        return False
    name = state["name"]
    if type(name) is str and (name in cls.__members__ or not issubclass(cls, enum.Flag)):
        return True
    is_left_to_python = getattr(cls._missing_, "__func__", None) is enum.Flag._missing_.__func__  # type: ignore[attr-defined]
    return is_left_to_python and type(name) in (str, type(None)) and type(state["value"]) is int


class _Names:
    """Which attributes objects of a class may be given: its fields, and what hides nothing of the class."""

    def __init__(self, cls: Any) -> None:
        self.cls = cls
        fields = (
            *getattr(cls, "__dataclass_fields__", ()),
            *[field.name for field in getattr(cls, "__attrs_attrs__", ())],
            *getattr(cls, "__pydantic_fields__", ()),
            *getattr(cls, "_fields", ()),
            *layout_of(cls).slots,
        )
        self.known = {name for name in fields if type(name) is str and not name.startswith("__")}

    def fit(self, state: Any) -> bool:
        if type(state) is not dict:
            return False
        if state.keys() <= self.known:
            return True
        more = [name for name in state if name not in self.known]
        if not all(
            type(name) is str and not name.startswith("__") and not self._hides(name) for name in more
        ):
            return False
        if len(self.known) + len(more) <= _MOST_NAMES:
            self.known.update(more)
        return True

    def fit_model(self, state: Any) -> bool:
        """Of pydantic; without the parameters of a generic one, which would make a class."""
        if type(state) is not dict or not {"fields", "set"} <= state.keys() <= {
            "fields",
            "set",
            "extra",
            "private",
        }:
            return False
        which = state["set"]
        parts = [state[name] for name in ("fields", "extra", "private") if state.get(name) is not None]
        return type(which) is tuple and which[:2] == (NODE, "builtins.set") and all(map(self.fit, parts))

    def _hides(self, name: str) -> bool:
        """Whether the class has a method or property of that name."""
        found = next((vars(base)[name] for base in self.cls.__mro__ if name in vars(base)), None)
        return found is not None and hasattr(type(found), "__get__")
