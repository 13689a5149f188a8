"""Exceptions as values: their arguments, and what they keep beside these.

Not the traceback, cause and context, which are no part of a pickle either. Called by families.py.
"""

from __future__ import annotations

from typing import Any

from valuestore.values.identity.attributes import HEAP_TYPE, set_attributes, sorted_attributes
from valuestore.values.identity.canonical import TypeRule
from valuestore.values.value import Plain, type_name_of

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
        given = (
            BaseException.__reduce__(error)[1]
            if not isinstance(error, OSError)
            else OSError.__reduce__(error)[1]
        )
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
