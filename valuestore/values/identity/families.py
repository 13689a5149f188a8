"""Rules for whole families of classes, found by what a class is, without registration.

Values, enums, dataclasses, named tuples, attrs, pydantic and msgspec classes; exceptions; classes over one
of Python's own containers or scalars; and classes whose objects are their attributes. All are stored by
state and rebuilt without running their code, so that a payload executes nothing. The libraries are not
imported: who has an object of theirs has imported them.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from valuestore.errors import DecodeError
from valuestore.values.identity.attributes import (
    ATTRS_HASH,
    HEAP_TYPE,
    instance_attributes,
    layout_of,
    registered_reduce,
    set_attributes,
    slot_names,
    sorted_attributes,
)
from valuestore.values.identity.builtins import exception_rule
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.identity.libraries import keeps_global
from valuestore.values.identity.reduction import alike
from valuestore.values.identity.singletons import named_one, telling_ones
from valuestore.values.value import Plain, Value, find_class, type_name_of, value_types

_WORD_BYTES = struct.calcsize("P")

_OWN_PICKLING = (
    "__getnewargs__",
    "__getnewargs_ex__",
    "__getstate__",
    "__reduce__",
    "__reduce_ex__",
    "__setstate__",
)


def family_rule(cls: type) -> TypeRule | None:
    """The rule of a class that says what its objects are, or None. Raises: Refused if no name finds it."""
    if issubclass(cls, Value):
        return _value_rule(cls)
    make: Callable[[Any], TypeRule]
    if issubclass(cls, enum.Enum):
        family, make = "enum", _enum_rule
    elif _is_pydantic(cls):
        family, make = "pydantic", _pydantic_rule
    elif _is_msgspec(cls):
        family, make = "msgspec", _msgspec_rule
    elif "__attrs_attrs__" in vars(cls) and is_bare(cls):
        family, make = "attrs", lambda cls: _fields_rule(cls, cls.__attrs_attrs__)
    elif _is_dataclass(cls) and is_bare(cls):
        family, make = "dataclass", lambda cls: _fields_rule(cls, dataclasses.fields(cls))
    elif _is_namedtuple(cls):
        family, make = "namedtuple", _namedtuple_rule
    else:
        return None
    _check_name(cls)
    return replace(make(cls), family=family, check=_check_home)


def content_rule(cls: type) -> TypeRule | None:
    """The rule of any other class that is known by what it holds, if it leaves its pickling to Python.

    Asked after plug-ins, which know better what counts in the classes of their library. Raises: Refused.
    """
    family: Callable[[Any], TypeRule]
    if _has_own_pickling(cls) or keeps_global(cls):
        return None
    if issubclass(cls, BaseException):
        family = exception_rule
    elif _content_base(cls) is not None:
        family = _subclass_rule
    elif cls is not object and is_bare(cls):
        family = _attributes_rule
    else:
        return None
    _check_name(cls)
    return replace(family(cls), check=_check_home)


def has_fields_alone(cls: type) -> bool:
    """Whether objects of this class are their attributes, which ``with_attributes`` can replace."""
    fielded = _is_dataclass(cls) or "__attrs_attrs__" in vars(cls) or _is_pydantic(cls)
    return fielded and is_bare(cls)


def with_attributes(cls: Any, attributes: dict[str, Any]) -> Any:
    """An object of that class with these attributes, none of its code run."""
    obj = object.__new__(cls)
    set_attributes(obj, attributes)
    if layout_of(cls).keeps_hash:
        set_attributes(obj, {ATTRS_HASH: None})
    return obj


def is_bare(cls: type) -> bool:
    """Whether instances hold their attributes and nothing else: no list, dict, exception or C struct."""
    if cls.__itemsize__ or any(base.__flags__ & HEAP_TYPE == 0 for base in cls.__mro__[:-1]):
        return False
    words = sum(len(slot_names(base)) for base in cls.__mro__)
    words += (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__basicsize__ <= object.__basicsize__ + words * _WORD_BYTES


def _check_name(cls: type) -> None:
    if "<locals>" in cls.__qualname__:
        raise Refused(f"{cls.__qualname__} is defined inside a function; move it to the top of its module")
    if find_class(type_name_of(cls)) not in (None, cls):
        _check_home(cls)
    _check_layout(cls)


def _check_home(cls: Any) -> None:
    """Raises: Refused if an object of the class could not come back as one of it."""
    if _is_pydantic(cls):
        cls = cls.__pydantic_generic_metadata__["origin"] or cls
    name = type_name_of(cls)
    found = value_types.get(cls.type_name, cls) if issubclass(cls, Value) else find_class(name)
    if found is None:
        raise Refused(f"the name {name} leads to no class; name the class as the variable it is in")
    if found is not cls and type_name_of(found) == name and "<locals>" not in name:
        reason = "made before its class was defined anew? then make it again; else give each its own name"
        raise Refused(f"the name {name} leads to another class: {reason}")


def _check_layout(cls: type) -> None:
    if unclear := layout_of(cls).unclear:
        raise Refused(f"what a {cls.__qualname__} carries cannot be told: {unclear}")


def _has_own_pickling(cls: type) -> bool:
    if registered_reduce(cls) is not None:
        return True
    return any(
        name in vars(base) for base in cls.__mro__ if base.__flags__ & HEAP_TYPE for name in _OWN_PICKLING
    )


def _required(cls: type, state: dict[str, Any], names: set[str]) -> None:
    if not names <= state.keys():
        missing = ", ".join(sorted(names - state.keys()))
        raise DecodeError(type_name_of(cls), f"it was stored before it had {missing}")


def _value_rule(cls: type[Value]) -> TypeRule:
    if "<locals>" in cls.type_name:
        raise Refused(f"{cls.__qualname__} is defined inside a function; give it a type_name of its own")
    if cls.identity is Value.identity and not is_bare(cls):
        raise Refused(f"{cls.__qualname__} holds more than attributes; give it an identity of its own")
    if cls.identity is Value.identity:
        _check_layout(cls)
    state = None if cls.state is Value.state else cls.state
    return TypeRule(
        cls, cls.type_name, cls.identity, cls.from_state, state, family="value", check=_check_home
    )


def _enum_rule(cls: Any) -> TypeRule:
    def state(member: enum.Enum) -> Plain:
        return {"name": member.name, "value": member.value}

    def member(state: Plain) -> Any:
        name, value = state["name"], state["value"]
        found = cls.__members__.get(name)
        if found is None and issubclass(cls, enum.Flag):
            found = cls(value)  # a combination of members has no name of its own
        if found is None or not alike(found.value, value):
            raise DecodeError(type_name_of(cls), f"its member {name} is gone or has another value")
        return found

    return TypeRule(cls, type_name_of(cls), state, member)


def _fields_first(obj: Any, names: list[str]) -> dict[str, Any]:
    """Fields in their order, then whatever else the instance carries, by name: a later read may need it."""
    found = instance_attributes(obj)
    found.pop("__orig_class__", None)
    own = {name: found.pop(name) for name in names if name in found}
    return own | {name: found[name] for name in sorted(found)}


def _is_dataclass(cls: type) -> bool:
    """As ``dataclasses`` has it, whatever the ``__getattr__`` of a metaclass answers."""
    return any("__dataclass_fields__" in vars(base) for base in cls.__mro__)


def _fields_rule(cls: Any, fields: Any) -> TypeRule:
    names = [field.name for field in fields]
    required = {field.name for field in fields if field.init}

    def instance(state: Plain) -> Any:
        if type(state) is list:
            return named_one(cls, state, content)
        _required(cls, state, required)
        return with_attributes(cls, state)

    content = functools.partial(_fields_first, names=names)
    one = telling_ones(cls, content, holds_nothing=not names)
    return TypeRule(cls, type_name_of(cls), content, instance, as_value=one)


def _is_pydantic(cls: type) -> bool:
    module = sys.modules.get("pydantic")
    return module is not None and issubclass(cls, module.BaseModel) and hasattr(cls, "__pydantic_fields__")


def _pydantic_rule(cls: Any) -> TypeRule:
    """Fields, extra ones, private attributes and which fields were set; validators do not run at load.

    ``Box[int]`` is stored as ``Box`` with its parameters.
    """
    generic = cls.__pydantic_generic_metadata__
    origin, parameters = generic["origin"] or cls, list(generic["args"])

    def state(model: Any) -> Plain:
        found = instance_attributes(model)
        state = {
            "fields": {name: found[name] for name in model.__dict__ if name in found},
            "set": set(model.__pydantic_fields_set__),
        }
        extra, private = model.__pydantic_extra__, model.__pydantic_private__
        more = {"extra": extra, "private": private, "parameters": parameters}
        return state | {name: value for name, value in more.items() if value}

    def instance(state: Plain) -> Any:
        made = origin[tuple(state["parameters"])] if "parameters" in state else origin
        _required(made, state["fields"], set(made.__pydantic_fields__))
        private = state.get("private")
        no_extra: Plain = {} if made.model_config.get("extra") == "allow" else None
        kept = {
            "__pydantic_fields_set__": state["set"],
            "__pydantic_extra__": state.get("extra", no_extra),
            "__pydantic_private__": {} if private is None and made.__private_attributes__ else private,
        }
        slots = layout_of(made).slots  # a root model has no place for all of it
        return with_attributes(made, state["fields"] | {name: kept[name] for name in kept.keys() & slots})

    return TypeRule(cls, type_name_of(origin), state, instance)


def _is_msgspec(cls: type) -> bool:
    module = sys.modules.get("msgspec")
    return module is not None and issubclass(cls, module.Struct)


def _msgspec_rule(cls: Any) -> TypeRule:
    names = list(cls.__struct_fields__)

    def state(obj: Any) -> Plain:
        own = {name: getattr(obj, name) for name in names if hasattr(obj, name)}
        return own | dict(sorted(getattr(obj, "__dict__", {}).items()))

    def instance(state: Plain) -> Any:
        _required(cls, state, set(names))
        obj = _silent(cls)(**{name: state[name] for name in names})
        obj.__class__ = cls
        for name in state.keys() - set(names):
            setattr(obj, name, state[name])
        return obj

    return TypeRule(cls, type_name_of(cls), state, instance)


@functools.cache
def _silent(cls: Any) -> Any:
    """The same Struct without ``__post_init__``: there is no other way to make one and not run it."""
    names = {"__post_init__": lambda _self: None, "__module__": cls.__module__}
    return type(cls)(cls.__name__, (cls,), names, frozen=False)


def _is_namedtuple(cls: type) -> bool:
    is_one = issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__mro__[1] is tuple
    return is_one and "__getnewargs_ex__" not in vars(cls)  # by which scipy's say what they hold beside


def _namedtuple_rule(cls: Any) -> TypeRule:
    fields = cls._fields

    def state(obj: Any) -> Plain:
        if getattr(obj, "__dict__", None):
            raise Refused("a named tuple with attributes beside its fields; make it a dataclass")
        return dict(zip(fields, tuple.__iter__(obj), strict=True))

    def instance(state: Plain) -> Any:
        if tuple(state) != fields:
            raise DecodeError(type_name_of(cls), f"it was stored with the fields {', '.join(state)}")
        return tuple.__new__(cls, state.values())

    return TypeRule(cls, type_name_of(cls), state, instance)


def _attributes_rule(cls: Any) -> TypeRule:
    def instance(state: Plain) -> Any:
        if type(state) is list:
            return named_one(cls, state, sorted_attributes)
        return with_attributes(cls, state)

    one = telling_ones(cls, sorted_attributes)
    return TypeRule(cls, type_name_of(cls), sorted_attributes, instance, as_value=one)


_CONTENT: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__index__,
    float: float.__float__,
    complex: complex.__complex__,
    bytes: bytes.__bytes__,
    bytearray: lambda obj: bytes(memoryview(obj)),
    list: lambda obj: list(list.__iter__(obj)),
    tuple: lambda obj: tuple(tuple.__iter__(obj)),
    dict: lambda obj: dict(dict.items(obj)),
    set: lambda obj: set(set.__iter__(obj)),
    frozenset: lambda obj: frozenset(frozenset.__iter__(obj)),
}
"""What an object of a subclass holds, as an object of the base; methods that it overrides are not asked."""

_FILLED: dict[type, Callable[[Any, Any], Any]] = {
    list: list.extend,
    dict: dict.update,
    set: set.update,
    bytearray: bytearray.extend,
}


def _content_base(cls: type) -> type | None:
    """The one class of Python's own that this class extends, if it can hold content."""
    builtin = [base for base in cls.__mro__[:-1] if not base.__flags__ & HEAP_TYPE]
    if len(builtin) != 1 or builtin[0] not in _CONTENT or cls is builtin[0]:
        return None
    words = sum(len(slot_names(base)) for base in cls.__mro__)
    words += (cls.__dictoffset__ != 0) + (cls.__weakrefoffset__ != 0)
    return builtin[0] if cls.__basicsize__ <= builtin[0].__basicsize__ + words * _WORD_BYTES else None


def _subclass_rule(cls: Any) -> TypeRule:
    """Its type name, content and attributes: never equal to an object of the base."""
    base: Any = _content_base(cls)
    content_of, fill = _CONTENT[base], _FILLED.get(base)

    def state(obj: Any) -> Plain:
        content, attributes = content_of(obj), sorted_attributes(obj)
        return {"content": content, "attributes": attributes} if attributes else {"content": content}

    def instance(state: Plain) -> Any:
        obj = base.__new__(cls) if fill else base.__new__(cls, state["content"])
        if fill:
            fill(obj, state["content"])
        set_attributes(obj, state.get("attributes", {}))
        return obj

    return TypeRule(cls, type_name_of(cls), state, instance)
