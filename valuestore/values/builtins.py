"""Rules for the types of Python and its standard library, and for whole families of classes.

The type names are a fixed table, not ``__module__``: the standard library moves classes between minor
versions (``pathlib`` in 3.13), and an identity must not. States are chosen to read well in a preview.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

from valuestore.errors import DecodeError
from valuestore.values.canonical import Refused, TypeRule
from valuestore.values.value import Plain, Value, instance_attributes, type_name_of

PLAIN_TYPE_NAMES: dict[type, str] = {
    type(None): "builtins.NoneType",
    bool: "builtins.bool",
    int: "builtins.int",
    float: "builtins.float",
    str: "builtins.str",
    bytes: "builtins.bytes",
    list: "builtins.list",
    tuple: "builtins.tuple",
    dict: "builtins.dict",
}
"""Types whose objects may be plain as they are."""


def _zone_state(zone: datetime.timezone) -> Plain:
    offset = zone.utcoffset(None)
    name = zone.tzname(None)
    return [offset, None if name == datetime.timezone(offset).tzname(None) else name]


def _zone(state: Plain) -> datetime.timezone:
    offset, name = state
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def _zone_key(zone: zoneinfo.ZoneInfo) -> str:
    if not zone.key:
        raise Refused("a ZoneInfo without a key cannot be named; make it with ZoneInfo('Area/City')")
    return zone.key


def _moment_state(moment: datetime.datetime | datetime.time) -> Plain:
    return [moment.replace(tzinfo=None).isoformat(), moment.fold, moment.tzinfo]


def _datetime(state: Plain) -> datetime.datetime:
    text, fold, zone = state
    return datetime.datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _time(state: Plain) -> datetime.time:
    text, fold, zone = state
    return datetime.time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _path_rule(cls: type[pathlib.PurePath]) -> TypeRule:
    return TypeRule(cls, f"pathlib.{cls.__name__}", str, cls)


BUILTIN_RULES = [
    TypeRule(complex, "builtins.complex", lambda z: [z.real, z.imag], lambda parts: complex(*parts)),
    TypeRule(bytearray, "builtins.bytearray", bytes, bytearray),
    TypeRule(set, "builtins.set", list, set, unordered=True),
    TypeRule(frozenset, "builtins.frozenset", list, frozenset, unordered=True),
    TypeRule(range, "builtins.range", lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    TypeRule(slice, "builtins.slice", lambda s: [s.start, s.stop, s.step], lambda parts: slice(*parts)),
    TypeRule(type(...), "builtins.ellipsis", lambda _: None, lambda _: ...),
    TypeRule(datetime.date, "datetime.date", datetime.date.isoformat, datetime.date.fromisoformat),
    TypeRule(datetime.datetime, "datetime.datetime", _moment_state, _datetime),
    TypeRule(datetime.time, "datetime.time", _moment_state, _time),
    TypeRule(
        datetime.timedelta,
        "datetime.timedelta",
        lambda delta: [delta.days, delta.seconds, delta.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    TypeRule(datetime.timezone, "datetime.timezone", _zone_state, _zone),
    TypeRule(zoneinfo.ZoneInfo, "zoneinfo.ZoneInfo", _zone_key, zoneinfo.ZoneInfo),
    TypeRule(decimal.Decimal, "decimal.Decimal", str, decimal.Decimal),
    TypeRule(
        fractions.Fraction,
        "fractions.Fraction",
        lambda ratio: [ratio.numerator, ratio.denominator],
        lambda parts: fractions.Fraction(*parts),
    ),
    TypeRule(uuid.UUID, "uuid.UUID", str, uuid.UUID),
    *[
        _path_rule(cls)
        for cls in (
            pathlib.PurePath,
            pathlib.PurePosixPath,
            pathlib.PureWindowsPath,
            pathlib.Path,
            pathlib.PosixPath,
            pathlib.WindowsPath,
        )
    ],
]


# --- class families -----------------------------------------------------------------------------


def family_rule(cls: type) -> TypeRule | None:
    """The rule of a class that is one of its family: Value, Enum, dataclass or named tuple; else None.

    Raises: Refused for such a class that cannot be found again by its name.
    """
    if issubclass(cls, Value):
        if "<locals>" in cls.type_name:
            raise Refused(f"{cls.__qualname__} is defined inside a function; give it a type_name of its own")
        if cls.identity is Value.identity and not _is_bare(cls):
            raise Refused(f"{cls.__qualname__} holds more than attributes; give it an identity of its own")
        return _value_rule(cls)
    family: Callable[[Any], TypeRule]
    if issubclass(cls, enum.Enum):
        family = _enum_rule
    elif dataclasses.is_dataclass(cls) and _is_bare(cls):
        family = _dataclass_rule
    elif issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__mro__[1] is tuple:
        family = _namedtuple_rule
    else:
        return None
    if "<locals>" in cls.__qualname__:
        raise Refused(f"{cls.__qualname__} is defined inside a function; move it to the top of its module")
    return family(cls)


def _value_rule(cls: type[Value]) -> TypeRule:
    state = None if cls.state is Value.state else cls.state
    return TypeRule(cls, cls.type_name, cls.identity, cls.from_state, state)


def _enum_rule(cls: Any) -> TypeRule:
    def state(member: enum.Enum) -> Plain:
        return {"name": member.name, "value": member.value}

    def member(state: Plain) -> Any:
        name, value = state["name"], state["value"]
        found = cls.__members__.get(name)
        if found is None and issubclass(cls, enum.Flag):
            found = cls(value)  # a combination of members has no name of its own
        if found is None or type(found.value) is not type(value) or found.value != value:
            raise DecodeError(type_name_of(cls), f"its member {name} is gone or has another value")
        return found

    return TypeRule(cls, type_name_of(cls), state, member)


_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set on classes made by a class statement."""


def _is_bare(cls: type) -> bool:
    """Whether instances hold their attributes and nothing else: no list, dict or exception underneath."""
    return all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__)


def _dataclass_rule(cls: Any) -> TypeRule:
    """Fields in their order, then whatever else the instance carries, by name: a later read may need it."""
    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    required = {field.name for field in fields if field.init}

    def state(obj: Any) -> Plain:
        found = instance_attributes(obj)
        found.pop("__orig_class__", None)
        own = {name: found.pop(name) for name in names if name in found}
        return own | {name: found[name] for name in sorted(found)}

    def instance(state: Plain) -> Any:
        if not required <= state.keys():
            missing = ", ".join(sorted(required - state.keys()))
            raise DecodeError(type_name_of(cls), f"it was stored before it had {missing}")
        obj = object.__new__(cls)
        for name, value in state.items():
            object.__setattr__(obj, name, value)
        return obj

    return TypeRule(cls, type_name_of(cls), state, instance)


def _namedtuple_rule(cls: Any) -> TypeRule:
    fields = cls._fields

    def state(obj: Any) -> Plain:
        if getattr(obj, "__dict__", None):
            raise Refused("a named tuple with attributes beside its fields; make it a dataclass")
        return dict(zip(fields, obj, strict=True))

    def instance(state: Plain) -> Any:
        if tuple(state) != fields:
            raise DecodeError(type_name_of(cls), f"it was stored with the fields {', '.join(state)}")
        return tuple.__new__(cls, state.values())

    return TypeRule(cls, type_name_of(cls), state, instance)
