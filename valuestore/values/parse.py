"""Text from a command line -> object, by the annotation of the parameter that it is for.

It reads what a person types: ``3``, ``data/a.csv``, ``2026-01-31``, ``red``. It is not a codec: there is no
way back, and nothing that is stored is read here. Called by ``valuestore run``.

Types that are not here can be given if they have a ``parse_arg`` of their own, as every ``Value`` does.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any, Union, get_args, get_origin
from uuid import UUID

_ANYTHING = (inspect.Parameter.empty, Any, object)

_COLLECTIONS: dict[Any, Callable[[list[Any]], Any]] = {
    **{kind: kind for kind in (list, tuple, set, frozenset)},
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable), list),
    **dict.fromkeys((abc.Set, abc.MutableSet), set),
}
"""What a repeated option becomes."""

_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)

_ISO: dict[type, tuple[Callable[[str], Any], str]] = {
    datetime.datetime: (datetime.datetime.fromisoformat, "2026-01-31T12:00:00+00:00"),
    datetime.date: (datetime.date.fromisoformat, "2026-01-31"),
    datetime.time: (datetime.time.fromisoformat, "12:00:00"),
    datetime.timedelta: (lambda text: _timedelta(text), "1:30:00 or 90s"),
}

_BY_CONSTRUCTOR = (int, float, complex, str, Decimal, Fraction, UUID, PurePath)

_LONGEST_TEXT = 80


def parse_arg(annotation: Any, text: str) -> Any:
    """The object of type ``annotation`` that ``text`` stands for.

    A union gives the first of its members that the text fits; a collection takes a JSON array or is its
    only item; a dict takes a JSON object; without annotation, JSON if it is JSON, else the text itself.
    Raises: ValueError naming the text and the expected type.
    """
    return parse_args(annotation, (text,))


def parse_args(annotation: Any, texts: Sequence[str]) -> Any:
    """As ``parse_arg``, for an option given ``len(texts)`` times; more than once is for collections."""
    kind = _resolved(annotation)
    members = _members(kind)
    if members:
        return _first_that_fits(kind, members, lambda member: parse_args(member, texts), texts)
    if _plain(kind) in _COLLECTIONS:
        is_json = len(texts) == 1 and texts[0].lstrip().startswith("[")
        return _from_json(kind, _json(texts[0], kind)) if is_json else _items(kind, texts, parse_arg)
    if len(texts) != 1:
        raise ValueError(f"expected {type_text(kind)} once, got {len(texts)}")
    return _single(kind, texts[0])


def is_repeatable(annotation: Any) -> bool:
    """Whether the option may be given more than once."""
    kind = _resolved(annotation)
    return _plain(kind) in _COLLECTIONS or any(is_repeatable(member) for member in _members(kind))


def is_flag(annotation: Any) -> bool:
    """Whether the option may stand alone, as ``--name`` and ``--no-name``: a bool, or that or None."""
    kind = _resolved(annotation)
    kinds = [_resolved(member) for member in _members(kind)] or [kind]
    return bool in kinds and all(member in (bool, types.NoneType) for member in kinds)


def type_text(annotation: Any, depth: int = 4) -> str:
    """The type for people, with the spelling that is expected: ``int``, ``list[path]``, ``one of a, b``.

    Types in it are named ``depth`` deep: aliases may stand for what they are themselves in.
    """
    kind = _resolved(annotation)
    plain, arguments = _plain(kind), get_args(kind)
    if depth == 0:
        return "..."
    if any(kind is anything for anything in _ANYTHING):
        return "JSON or text"
    if isinstance(kind, str):
        return kind
    if members := _members(kind):
        return " or ".join(type_text(member, depth) for member in members)
    if get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
    if kind is typing.Callable or plain in (abc.Callable, type):
        return "package.module.name"
    if plain in _COLLECTIONS or plain in _MAPPINGS:
        made = "dict" if plain in _MAPPINGS else _COLLECTIONS[plain].__name__
        inner = ["..." if each is ... else type_text(each, depth - 1) for each in arguments]
        return f"{made}[{', '.join(inner)}]" if inner else made
    if not isinstance(kind, type):
        return inspect.formatannotation(kind)
    if kind in _ISO:
        return f"{kind.__name__} (such as {_ISO[kind][1]})"
    if issubclass(kind, Enum):
        return f"one of {', '.join(kind.__members__)}"
    if dataclasses.is_dataclass(kind) and not hasattr(kind, "parse_arg"):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        return f"{kind.__name__} (a JSON object with {', '.join(names)})"
    return "path" if issubclass(kind, PurePath) else _TEXTS.get(kind, kind.__name__)


_TEXTS = {bool: "bool (true or false)", types.NoneType: "none", str: "text"}


def _single(kind: Any, text: str) -> Any:
    if any(kind is anything for anything in _ANYTHING):
        with suppress(ValueError):
            return _json(text, kind)
        return text
    if get_origin(kind) is typing.Literal:
        return _literal(kind, text)
    if _plain(kind) in _MAPPINGS:
        return _from_json(kind, _json(text, kind))
    if kind in (abc.Callable, typing.Callable) or get_origin(kind) is abc.Callable or _plain(kind) is type:
        return _named(kind, text)
    if kind is types.NoneType and text in ("None", "none", "null"):
        return None
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in (types.NoneType, bool) or not isinstance(kind, type):
        raise _misfit(kind, text)
    if issubclass(kind, Enum):
        return _member(kind, text)
    parse = getattr(kind, "parse_arg", None)
    if parse is not None:
        try:
            return parse(text)
        except (ValueError, TypeError) as error:
            raise _misfit(kind, text, reason=str(error)) from error
    if dataclasses.is_dataclass(kind):
        return _fielded(kind, text)
    constructor = _ISO[kind][0] if kind in _ISO else kind if issubclass(kind, _BY_CONSTRUCTOR) else None
    if constructor is None:
        raise ValueError(f"a {type_text(kind)} cannot be given on the command line, got {_quoted(text)}")
    try:
        return constructor(text)
    except (ValueError, ArithmeticError) as error:  # Decimal and Fraction raise the latter
        raise _misfit(kind, text) from error


def _literal(kind: Any, text: str) -> Any:
    for choice in get_args(kind):
        try:
            if parse_arg(type(choice), text) == choice:
                return choice
        except ValueError:
            continue
    raise _misfit(kind, text)


def _member(kind: type[Enum], text: str) -> Enum:
    name = text.removeprefix(f"{kind.__name__}.")
    if name in kind.__members__:
        return kind.__members__[name]
    alike = [member for known, member in kind.__members__.items() if known.lower() == name.lower()]
    if len(alike) != 1:
        raise _misfit(kind, text)
    return alike[0]


def _named(kind: Any, text: str) -> Any:
    """The function or class called ``package.module.name``; its module is imported, as the person asks."""
    module_name, _, name = text.rpartition(".")
    if not module_name:
        raise _misfit(kind, text, reason="write package.module.name")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _misfit(kind, text, reason=str(error)) from error
    if not (isinstance(found, type) if _plain(kind) is type else callable(found)):
        raise _misfit(kind, text, reason=f"it is a {type(found).__name__}")
    return found


def _timedelta(text: str) -> datetime.timedelta:
    """``1:30:00``, ``90s``, ``2d``, ``1.5 hours``; a number alone is seconds. Raises: ValueError."""
    if clock := re.fullmatch(r"(-?)(?:(\d+) days?,? ?)?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?", text.strip()):
        sign, days, hours, minutes, seconds = clock.groups()
        span = datetime.timedelta(int(days or 0), float(seconds or 0), 0, 0, int(minutes), int(hours))
        return -span if sign else span
    if amount := re.fullmatch(r"(-?\d+(?:\.\d+)?) ?([a-z]*)", text.strip().lower()):
        number, unit = amount.groups()
        for name in _UNITS:
            if unit in (name, name[:-1], _UNITS[name]):
                return datetime.timedelta(**{name: float(number)})
    raise ValueError("no span of time")


_UNITS = {"seconds": "s", "milliseconds": "ms", "minutes": "min", "hours": "h", "days": "d", "weeks": "w"}


def _fielded(kind: type, text: str) -> Any:
    """A dataclass, made by its constructor from a JSON object of its fields."""
    data = _json(text, kind)
    types_of = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    if not isinstance(data, dict) or not data.keys() <= set(names):
        raise _misfit(kind, text, reason=f"a JSON object with {', '.join(names)}")
    given = {name: _from_json(types_of[name], value) for name, value in data.items()}
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise _misfit(kind, text, reason=str(error)) from error


def _first_that_fits(
    kind: Any, members: Sequence[Any], parse: Callable[[Any], Any], given: Sequence[str]
) -> Any:
    for member in members:
        try:
            return parse(member)
        except ValueError:
            continue
    raise _misfit(kind, *given)


def _items(kind: Any, given: Sequence[Any], parse: Callable[[Any, Any], Any]) -> Any:
    """A collection of type ``kind`` whose items are made from ``given`` by ``parse(item type, item)``."""
    make, arguments = _COLLECTIONS[_plain(kind)], get_args(kind)
    if make is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(given):
            raise ValueError(f"expected {type_text(kind)}, got {len(given)} items")
        return tuple([parse(item, each) for item, each in zip(arguments, given, strict=True)])
    item = arguments[0] if arguments else Any
    return make([parse(item, each) for each in given])


def _from_json(annotation: Any, data: Any) -> Any:
    """The object of type ``annotation`` that JSON data stands for; a string in it is read as an argument."""
    kind = _resolved(annotation)
    if any(kind is anything for anything in _ANYTHING):
        return data
    members = _members(kind)
    if members:
        return _first_that_fits(kind, members, lambda member: _from_json(member, data), (json.dumps(data),))
    if kind is str and isinstance(data, str):
        return data
    if get_origin(kind) is typing.Literal and not isinstance(data, str):
        return _literal(kind, json.dumps(data))
    if _plain(kind) in _COLLECTIONS and isinstance(data, list):
        return _items(kind, data, _from_json)
    if _plain(kind) in _MAPPINGS and isinstance(data, dict):
        key, value = get_args(kind) or (Any, Any)
        key = str if key is Any else key
        return {parse_arg(key, name): _from_json(value, item) for name, item in data.items()}
    if type(data) is kind or (kind is types.NoneType and data is None):
        return data
    if kind in (float, Decimal, Fraction, complex) and type(data) in (int, float):
        return kind(str(data))
    if isinstance(data, dict) and dataclasses.is_dataclass(kind):
        return _single(kind, json.dumps(data))
    if isinstance(data, str) and kind is not bool and kind is not types.NoneType:
        return _single(kind, data)
    raise _misfit(kind, json.dumps(data))


def _json(text: str, kind: Any) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _misfit(kind, text, reason="it is not JSON") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON (RFC 8259, section 6)")


def _resolved(annotation: Any) -> Any:
    """Without ``Annotated``, ``NewType``, type aliases and type variables around it."""
    while True:
        if get_origin(annotation) is typing.Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or Any
        elif type(annotation).__name__ == "TypeAliasType":  # Python 3.12: ``type Name = ...``
            annotation = annotation.__value__
        else:
            return types.NoneType if annotation is None else annotation


def _plain(kind: Any) -> Any:
    """``list`` for ``list[int]`` and for ``list``; None for what has no hash."""
    plain = get_origin(kind) or kind
    return plain if isinstance(plain, type) else None


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()


def _misfit(kind: Any, *texts: str, reason: str = "") -> ValueError:
    sentence = f"expected {type_text(kind)}, got {', '.join(map(_quoted, texts))}"
    return ValueError(f"{sentence}: {reason}" if reason else sentence)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "...")
