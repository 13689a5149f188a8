"""Pickling: the bytes of objects that no codec knows, written here and read by gate.py alone.

Classes and functions of a script are named for its file, as everywhere, so that a value made by
``python census.py`` is not mistaken for one of another ``__main__``, and is found by worker processes.
"""

from __future__ import annotations

import collections
import io
import pickle  # only its Pickler: this module writes, gate.py alone reads
import types
from collections.abc import Iterator
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import ATOMS
from valuestore.values.identity.attributes import set_attributes, sorted_attributes
from valuestore.values.identity.libraries import GlobalByName, keeps_global, with_global
from valuestore.values.value import Value, module_name_of, module_named, restored

PROTOCOL = 5
_MAIN = ("__main__", "__mp_main__")
_LEAVES = ATOMS | {complex, bytearray}
_MOST_VISITED = 20_000
_LONGEST = 160


def dump_signed(obj: object) -> bytes:
    """Pickle bytes, to be signed. Equal objects may give different bytes: they identify nothing.

    Raises: NotHashableError naming the path to the member that cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, PROTOCOL).dump(obj)
    except RecursionError:
        raise NotHashableError("value", "it is nested too deeply to be pickled") from None
    except Exception as error:
        raise NotHashableError(*_culprit(obj, error)) from error
    return buffer.getvalue()


def main_member(module_name: str, qualname: str) -> Any:
    """A class or function of the script that was named so; pickles refer to this function by its name.

    Imports nothing: running a script once more to read a value would surprise. Raises: AttributeError.
    """
    found: Any = module_named(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def bound(function: Any, owner: Any) -> types.MethodType:
    """The function as a method of that object; pickles refer to this function by its name."""
    return types.MethodType(function, owner)


def _taken_apart(value: Value) -> Any:
    """One that is its attributes is made before these are, which may lead back to it."""
    cls = type(value)
    if value.external() is not None:
        return restored, (cls, value.state())
    if any(getattr(cls, name) is not getattr(Value, name) for name in ("__reduce__", "identity", "state")):
        return NotImplemented
    if cls.from_state.__func__ is not Value.from_state.__func__:  # type: ignore[attr-defined]
        return NotImplemented
    return object.__new__, (cls,), sorted_attributes(value), None, None, set_attributes


class _Pickler(pickle.Pickler):
    """The C pickler, but for the members of ``__main__``, and for what stands for outside state.

    The latter is pickled with the state that it has now, or nobody could tell later that it has changed.
    """

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Value):
            return _taken_apart(obj)
        if isinstance(obj, types.MethodType) and getattr(obj.__self__, obj.__name__, None) != obj:
            return bound, (obj.__func__, obj.__self__)  # one that an object was given
        if keeps_global(type(obj)):  # type: ignore[arg-type]  # a class is hashable
            reduced: Any = obj.__reduce_ex__(PROTOCOL)
            return with_global(reduced, GlobalByName())
        if not isinstance(obj, type | types.FunctionType) or obj.__module__ not in _MAIN:
            return NotImplemented
        place = module_name_of("__main__"), obj.__qualname__
        if place[0] in _MAIN:  # an interactive session: its classes have no home
            return NotImplemented
        try:
            is_there = main_member(*place) is obj
        except AttributeError:
            is_there = False
        return (main_member, place) if is_there else NotImplemented


# --- what cannot be pickled ---------------------------------------------------------------------


def _culprit(obj: object, error: Exception) -> tuple[str, str]:
    """Path and reason of the nearest part that cannot be pickled. Breadth first; on the error path alone."""
    waiting = collections.deque([("value", obj)])
    seen = {id(obj): obj}
    while waiting and len(seen) < _MOST_VISITED:
        path, current = waiting.popleft()
        try:
            parts = list(_parts(current))
            if not parts:
                _Pickler(io.BytesIO(), PROTOCOL).dump(current)
        except Exception as reason:  # noqa: BLE001  # the user's own __reduce__ may raise anything
            return path, reason_of(reason)
        for name, part in parts:
            if type(part) not in _LEAVES and id(part) not in seen:
                seen[id(part)] = part
                waiting.append((_joined(path, name), part))
    return "value", reason_of(error)


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """What pickling ``obj`` would pickle in turn, each with its place in it. May raise anything."""
    if isinstance(obj, type | types.FunctionType | types.BuiltinFunctionType | types.ModuleType):
        return
    if type(obj) is dict:
        yield from _items(obj.items())
    elif type(obj) in (list, tuple, set, frozenset):
        yield from ((f"[{index}]", item) for index, item in enumerate(obj))
    elif type(obj) not in _LEAVES:
        reduced: Any = obj.__reduce_ex__(PROTOCOL)
        if not isinstance(reduced, str):
            function, arguments, *rest = reduced
            state, items, pairs = [*rest, None, None, None][:3]
            yield from (("", part) for part in (function, *arguments))
            for attributes in state if isinstance(state, tuple) else (state,):
                named = isinstance(attributes, dict)
                yield from _attributes(attributes) if named else [("", attributes)]
            yield from ((f"[{index}]", item) for index, item in enumerate(items or ()))
            yield from _items(pairs or ())


def _items(pairs: Any) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        yield "[a key]", key
        yield f"[{key!r}]" if type(key) in (str, int, bool) else f"[<{type(key).__name__}>]", value


def _attributes(state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    return ((f".{name}", value) for name, value in state.items())


def _joined(path: str, name: str) -> str:
    joined = path + (name if len(name) <= 40 else name[:37] + "...")
    return joined if len(joined) <= _LONGEST else joined[:60] + "..." + joined[-60:]


def reason_of(error: Exception) -> str:
    text = str(error) if type(error).__str__ in (Exception.__str__, OSError.__str__) else type(error).__name__
    return f"it cannot be pickled ({text[:_LONGEST]})"
