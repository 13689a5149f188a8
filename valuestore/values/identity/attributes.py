"""Attributes: what an object carries in its slots and its dictionary, read and given without its code.

Slots are read through their descriptors and the dictionary as Python keeps it, so that a property, a
``__getattr__`` or a ``__setattr__`` of the class neither hides nor changes anything.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from functools import cached_property, lru_cache
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from valuestore.hashing import NotPlain, encode_plain
from valuestore.values.identity.refusal import Refused

HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set on classes made by a class statement."""

ATTRS_HASH = "_attrs_cached_hash"
_MISSING = object()


class Layout(NamedTuple):
    """Where objects of a class keep attributes: slots by name, and names of values kept to save time."""

    slots: dict[str, MemberDescriptorType]
    saved: frozenset[str]
    unclear: str
    covered: tuple[MemberDescriptorType, ...]
    """Slots whose name a subclass has once more, as a slot or for data of the class: nothing is in them."""
    keeps_hash: bool
    """In an attribute that its ``__hash__`` needs, as attrs does."""


@lru_cache(maxsize=4096)
def layout_of(cls: type) -> Layout:
    """The layout; ``unclear`` says why such objects cannot be told by their attributes, if they cannot."""
    slots: dict[str, MemberDescriptorType] = {}
    unclear = ""
    covered: list[MemberDescriptorType] = []
    for base in reversed(cls.__mro__):
        for name in slot_names(base):
            mangled = name.startswith("__") and not name.endswith("__")
            private = f"_{base.__name__.lstrip('_')}{name}" if mangled else name
            slot = vars(base).get(private)
            if not isinstance(slot, MemberDescriptorType):
                continue
            found = _found(cls, private)
            if found is not slot and (
                isinstance(found, MemberDescriptorType) or not hasattr(type(found), "__get__")
            ):
                covered.append(slot)
                continue
            slots[private] = slot
            if found is not slot:
                unclear = f"the slot {private} of {base.__qualname__} is hidden by another attribute"
        own = vars(base).get("__dict__")
        if own is not None and not isinstance(own, GetSetDescriptorType):
            unclear = f"{base.__qualname__} has a __dict__ of its own making"
    members = [pair for base in cls.__mro__ for pair in [*vars(base).items()]]
    names = {name for name, member in members if isinstance(member, cached_property)}
    saved = {name for name in names if isinstance(_found(cls, name), cached_property)} | _saved_by_attrs(cls)
    code = getattr(_found(cls, "__hash__"), "__code__", None)
    keeps_hash = code is not None and ATTRS_HASH in code.co_names
    return Layout(slots, frozenset(saved), unclear, tuple(covered), keeps_hash)


def _saved_by_attrs(cls: type) -> set[str]:
    """Cached properties in slots, and the cached hash, which depends on the process."""
    saved = set()
    for base in cls.__mro__:
        if (fields := vars(base).get("__attrs_attrs__")) is not None:
            saved |= {ATTRS_HASH, *slot_names(base)} - {field.name for field in fields}
    return saved


def slot_names(cls: type) -> tuple[str, ...]:
    """What the class itself declares as its slots, but for dictionary and weak references."""
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple([name for name in names if name not in ("__dict__", "__weakref__")])


def instance_attributes(obj: object) -> dict[str, Any]:
    """What an object carries: slots and dictionary, without values that it keeps only to save time."""
    layout = layout_of(type(obj))  # type: ignore[arg-type]  # a class is hashable
    for slot in layout.covered:
        if _is_set(slot, obj):
            raise Refused(
                f"the slot {slot.__name__} of {slot.__objclass__.__qualname__} is hidden by another"
            )
    found: dict[str, Any] = {}
    for name, slot in layout.slots.items():
        try:
            found[name] = slot.__get__(obj)
        except AttributeError:  # not set
            continue
    own = instance_dictionary(obj)
    if not layout.saved:
        return found | own if found else dict(own)
    found.update(own)
    return {
        name: value
        for name, value in found.items()
        if name not in layout.saved or _is_set_by_hand(obj, name, value)
    }


def sorted_attributes(obj: object) -> dict[str, Any]:
    """The same by name: in which order they were set says nothing of the object."""
    found = instance_attributes(obj)
    return {name: found[name] for name in sorted(found, key=str)}


def set_attributes(obj: object, attributes: Mapping[str, Any]) -> None:
    """Give an object its attributes. Raises: AttributeError if it has no place for one."""
    slots = layout_of(type(obj)).slots  # type: ignore[arg-type]  # as above
    own = {}
    for name, value in attributes.items():
        slot = slots.get(name)
        if slot is None:
            own[name] = value
        else:
            slot.__set__(obj, value)
    if own:
        object.__getattribute__(obj, "__dict__").update(own)


def instance_dictionary(obj: object) -> dict[str, Any]:
    """The object's own dictionary, whatever its class says that it is; empty if it has none."""
    try:
        return object.__getattribute__(obj, "__dict__")  # type: ignore[no-any-return]
    except AttributeError:
        return {}


def _is_set(slot: MemberDescriptorType, obj: object) -> bool:
    try:
        slot.__get__(obj)
    except AttributeError:
        return False
    return True


def _found(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), _MISSING)


def _is_set_by_hand(obj: object, name: str, value: object) -> bool:
    """Whether a cached property holds plain data that is not what it computes; it is asked again to tell."""
    saved = _found(type(obj), name)
    if not isinstance(saved, cached_property):  # what attrs keeps is its own affair
        return False
    try:
        held = encode_plain(value)
    except (NotPlain, ValueError, RecursionError, OverflowError):
        return False
    try:
        return held != encode_plain(saved.func(obj))
    except Exception:  # noqa: BLE001  # it cannot have come from there
        return True


def registered_reduce(cls: type) -> Any:
    """How ``copyreg`` says that objects of a class are pickled, or None.

    Importing ``distributed`` has all exceptions pickled with their tracebacks: they are the same without.
    """
    found = copyreg.dispatch_table.get(cls)
    is_tblib = issubclass(cls, BaseException) and getattr(found, "__module__", "").startswith("tblib")
    return None if is_tblib else found
