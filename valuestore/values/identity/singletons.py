"""Singletons: objects told by who they are, and the name that leads to each (docs/decisions/0019).

A sentinel is compared by ``is``, so a copy of it is another one. An object that compares so travels by name
if it holds nothing, if it says its own name, or if its class makes one object; it comes back as that very
object. Everything else is what it holds. Called by the rules of families.py, for values alone: constants
that code refers to are told as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from valuestore.errors import DecodeError
from valuestore.hashing import ATOMS
from valuestore.values.code.ownership import is_own, own_modules
from valuestore.values.identity.attributes import sorted_attributes
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.identity.reduction import alike, reduction
from valuestore.values.value import Plain, find_object, members, module_name_of, type_name_of

_MAKERS = ("__copy__", "__deepcopy__", "__new__")
_are_atoms = ATOMS.issuperset

Content = Callable[[Any], dict[str, Any]]


def telling_ones(cls: Any, content: Content, *, holds_nothing: bool = False) -> Callable[[Any], Plain] | None:
    """What says of an object of the class which one it is, or else what it holds: its ``content``.

    None for a class whose objects compare by content, unless it has no fields.
    """
    if cls.__eq__ is not object.__eq__ and not holds_nothing:
        return None
    makes_some = type(cls).__call__ is not type.__call__ or any(
        name in vars(base) for base in cls.__mro__[:-1] for name in _MAKERS
    )

    def told(obj: Any) -> Plain:
        attributes = content(obj)
        place: list[Any] | None
        if makes_some and is_own(cls.__module__) and (place := _held(cls, obj, attributes)) is not None:
            return [place, attributes]
        if not attributes:
            name = _name_of(obj)
        elif _are_atoms(map(type, attributes.values())):
            name = _own_name(obj, [text.strip("<>") for text in attributes.values() if type(text) is str])
        else:
            return attributes
        return attributes if name is None else [[name], attributes]

    return told


def named_one(cls: type, state: list[Any], content: Content) -> Any:
    """The object that a name leads to, if it is such a one still. Raises: DecodeError."""
    (name, *key), attributes = state
    found = find_object(name)
    if key and type(found) in (dict, WeakValueDictionary):
        found = found.get(cls if key[0] is None else key[0])
    if type(found) is not cls or not alike(content(found), attributes):
        raise DecodeError(type_name_of(cls), f"the name {name} leads to no such object here")
    return found


def _object(obj: object) -> Plain:
    name = _name_of(obj)
    if name is None:
        raise Refused(
            "nothing tells one object() from another; keep it in a variable of its module, make it a "
            "dataclass or a valuestore.Value, or register a TypeRule for it"
        )
    return [[name], {}]


OBJECT_RULE = TypeRule(
    object,
    "builtins.object",
    reduction,
    lambda state: named_one(object, state, sorted_attributes),
    as_value=_object,
)


def _held(cls: Any, obj: object, attributes: dict[str, Any]) -> list[Any] | None:
    """Where a class keeps what its ``__new__``, or its metaclass, made; the key too if that is a dict.

    None if it makes them anew. Raises: Refused if it makes this one alone, and no name leads to it.
    """
    for owner in (*cls.__mro__[:-1], *type(cls).__mro__[:-2]):
        for name, member in list(vars(owner).items()):
            if member is obj:
                return [_checked(f"{type_name_of(owner)}.{name}", obj)]
            if type(member) not in (dict, WeakValueDictionary):
                continue
            for key, value in list(member.items()):
                if value is obj and (key is cls or type(key) in ATOMS):
                    return [f"{type_name_of(owner)}.{name}", None if key is cls else key]
                if value is obj:
                    raise Refused(f"{type_name_of(owner)}.{name} keeps it by a key that says no name")
    if not _is_made_again(cls, obj, is_small=_are_atoms(map(type, attributes.values()))):
        return None
    if (named := _name_of(obj)) is None:
        raise Refused(f"{cls.__qualname__} makes one object, and no name leads to it; keep it in a variable")
    return [named]


def _is_made_again(cls: Any, obj: Any, *, is_small: bool) -> bool:
    """Whether to make or to copy an object gives this one; a large one is not copied as a whole."""
    try:
        if cls.__new__ is not object.__new__ and cls.__new__(cls) is obj:
            return True
        return (hasattr(cls, "__copy__") and obj.__copy__() is obj) or (
            is_small and hasattr(cls, "__deepcopy__") and obj.__deepcopy__({}) is obj
        )
    except Exception:  # noqa: BLE001  # it needs arguments, or whatever else a class may want
        return False


def _name_of(obj: object) -> str | None:
    """The name of a variable that holds it, of a module or a class. Raises: Refused if it leads elsewhere."""
    return next((_checked(name, obj) for module in _modules(type(obj)) for name in _names(module, obj)), None)


def _own_name(obj: object, texts: list[str]) -> str | None:
    """The name of a variable that is called as the object itself says."""
    for text in texts if any(map(str.isidentifier, texts)) else ():
        if vars(type(obj)).get(text) is obj:
            return _checked(f"{type_name_of(type(obj))}.{text}", obj)
        for module in _modules(type(obj)):
            if members(module).get(text) is obj:
                return _checked(f"{module_name_of(module.__name__)}.{text}", obj)
    return None


def _names(module: ModuleType, obj: object) -> Iterator[str]:
    home = module_name_of(module.__name__)
    found = [(home, name) for name, value in list(members(module).items()) if value is obj]
    for cls in list(members(module).values()):
        if isinstance(cls, type) and cls.__module__ == module.__name__:
            found += [(type_name_of(cls), name) for name, value in list(vars(cls).items()) if value is obj]
    # but ``_``, which is the last thing a shell showed
    found = [(home, name) for home, name in found if name.strip("_")]
    yield from (f"{home}.{name}" for home, name in sorted(found, key=lambda each: each[1].startswith("_")))


def _modules(cls: type) -> Iterator[ModuleType]:
    """Where to look: the module of the class, the packages around it, one's own; then all, for ``object``."""
    parts = cls.__module__.split(".")
    around = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    names = (*around, *own_modules())
    for name in (*names, *sorted(sys.modules)) if cls is object else names:
        module = sys.modules.get(name)
        if isinstance(module, ModuleType):
            yield module


def _checked(name: str, obj: object) -> str:
    if find_object(name) is not obj:
        raise Refused(f"the name {name} leads to another object than this")
    return name
