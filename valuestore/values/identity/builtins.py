"""Rules for the types of Python and of those standard modules that every program has, exceptions among them.

Those of other standard modules are in standard.py, families of classes in families.py.

The type names are a fixed table, not ``__module__``: the standard library moves classes between minor
versions (``pathlib`` in 3.13), and an identity must not. States are chosen to read well in a preview.
"""

from __future__ import annotations

import collections
import datetime
import pathlib
import re
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from valuestore.hashing import ATOMS
from valuestore.values.identity.attributes import HEAP_TYPE, set_attributes, sorted_attributes
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.identity.singletons import OBJECT_RULE
from valuestore.values.value import Plain, type_name_of

PLAIN_TYPE_NAMES: dict[type, str] = {cls: f"builtins.{cls.__name__}" for cls in (*ATOMS, list, tuple, dict)}
"""Types whose objects may be plain as they are."""


def _zone_state(zone: datetime.timezone) -> Plain:
    offset = zone.utcoffset(None)
    name = zone.tzname(None)
    return [offset, None if name == datetime.timezone(offset).tzname(None) else name]


def _zone(state: Plain) -> datetime.timezone:
    offset, name = state
    return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)


def _moment_state(moment: datetime.datetime | datetime.time) -> Plain:
    return [moment.replace(tzinfo=None).isoformat(), moment.fold, moment.tzinfo]


def _moment(cls: Any, state: Plain) -> Any:
    text, fold, zone = state
    return cls.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _with_nothing_else(content: Callable[[Any], Plain], *known: str) -> Callable[[Any], Plain]:
    """The content of a class whose objects take any attribute; with one, they are not told by it."""

    def told(obj: Any) -> Plain:
        if more := vars(obj).keys() - known:
            raise Refused(f"a {type(obj).__name__} with an attribute {min(more)!r}; make it a class of yours")
        return content(obj)

    return told


BUILTIN_RULES = [
    OBJECT_RULE,
    TypeRule(complex, "builtins.complex", lambda z: [z.real, z.imag], lambda parts: complex(*parts)),
    TypeRule(bytearray, "builtins.bytearray", bytes, bytearray),
    TypeRule(set, "builtins.set", list, set, unordered=True),
    TypeRule(frozenset, "builtins.frozenset", list, frozenset, unordered=True),
    TypeRule(range, "builtins.range", lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    TypeRule(slice, "builtins.slice", lambda s: [s.start, s.stop, s.step], lambda parts: slice(*parts)),
    TypeRule(type(...), "builtins.ellipsis", lambda _: None, lambda _: ...),
    TypeRule(datetime.date, "datetime.date", datetime.date.isoformat, datetime.date.fromisoformat),
    TypeRule(datetime.datetime, "datetime.datetime", _moment_state, partial(_moment, datetime.datetime)),
    TypeRule(datetime.time, "datetime.time", _moment_state, partial(_moment, datetime.time)),
    TypeRule(
        datetime.timedelta,
        "datetime.timedelta",
        lambda delta: [delta.days, delta.seconds, delta.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    TypeRule(datetime.timezone, "datetime.timezone", _zone_state, _zone),
    TypeRule(
        collections.OrderedDict,
        "collections.OrderedDict",
        _with_nothing_else(dict),
        collections.OrderedDict,
    ),
    TypeRule(
        collections.defaultdict,
        "collections.defaultdict",
        lambda mapping: [mapping.default_factory, dict(mapping)],
        lambda parts: collections.defaultdict(*parts),
    ),
    TypeRule(collections.Counter, "collections.Counter", _with_nothing_else(dict), collections.Counter),
    TypeRule(
        collections.deque,
        "collections.deque",
        lambda items: [list(items), items.maxlen],
        lambda parts: collections.deque(*parts),
    ),
    TypeRule(
        collections.ChainMap,
        "collections.ChainMap",
        _with_nothing_else(lambda chain: chain.maps, "maps"),
        lambda maps: collections.ChainMap(*maps),
    ),
    TypeRule(
        collections.UserString,
        "collections.UserString",
        _with_nothing_else(lambda text: text.data, "data"),
        collections.UserString,
    ),
    TypeRule(
        types.SimpleNamespace, "types.SimpleNamespace", vars, lambda state: types.SimpleNamespace(**state)
    ),
    TypeRule(types.MappingProxyType, "types.MappingProxyType", dict, types.MappingProxyType),
    TypeRule(
        re.Pattern,
        "re.Pattern",
        lambda pattern: [pattern.pattern, pattern.flags & ~int(re.DEBUG)],
        lambda parts: re.compile(*parts),
    ),
    *[
        TypeRule(getattr(pathlib, name), f"pathlib.{name}", str, getattr(pathlib, name))
        for name in ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")
    ],
]


# --- exceptions: their arguments, and what they keep beside these; called by families.py ------------

_TOLD = frozenset({int, str, bytes, tuple})

_ALSO: dict[type, tuple[str, ...]] = {
    ImportError: ("name", "path", "msg"),
    AttributeError: ("name",),
    NameError: ("name",),
    OSError: ("errno", "strerror", "filename", "filename2"),
    StopIteration: ("value",),
    SystemExit: ("code",),
    SyntaxError: ("msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset"),
    UnicodeDecodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeEncodeError: ("encoding", "object", "start", "end", "reason"),
    UnicodeTranslateError: ("object", "start", "end", "reason"),
}
"""What some exceptions keep beside their arguments, and can be changed to say something else than these."""


def exception_rule(cls: Any) -> TypeRule:
    """Arguments and attributes; not traceback, cause and context, which are no part of its pickle either."""
    builtin = next(base for base in cls.__mro__ if not base.__flags__ & HEAP_TYPE)
    extra = {
        name: vars(base)[name] for base, names in _ALSO.items() if issubclass(cls, base) for name in names
    }

    def state(error: Any) -> Plain:
        base: Any = OSError if isinstance(error, OSError) else BaseException
        given = base.__reduce__(error)[1]
        attributes = _changed(builtin, given, error, extra) if extra else {}
        attributes |= sorted_attributes(error)
        return {"args": list(given), "attributes": attributes} if attributes else {"args": list(given)}

    def instance(state: Plain) -> Any:
        error = builtin.__new__(cls, *state["args"])
        if cls is builtin or builtin not in (BaseException, Exception):
            builtin.__init__(error, *state["args"])
        attributes = dict(state.get("attributes", {}))
        for name in extra.keys() & attributes.keys():
            extra[name].__set__(error, attributes.pop(name))
        set_attributes(error, attributes)
        return error

    return TypeRule(cls, type_name_of(cls), state, instance, family="exception")


def _changed(builtin: Any, given: Any, error: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra attributes that are not what the arguments make them."""
    fresh = builtin.__new__(builtin, *given)
    fresh.__init__(*given)
    changed = {}
    for name, member in extra.items():
        value, made = member.__get__(error), member.__get__(fresh)
        if value is not made and not (type(value) is type(made) and type(value) in _TOLD and value == made):
            changed[name] = value
    return changed
