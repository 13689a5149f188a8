"""Nested: the Values inside an object, found, asked and replaced.

Not the way to an identity (canonical.py). Looks into containers and into objects that are their fields
alone; called through the registry.
"""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from valuestore.errors import DecodeError, NotHashableError
from valuestore.hashing import ATOMS, Digest
from valuestore.plugins import is_built_in
from valuestore.values.code.ownership import is_own, is_own_class
from valuestore.values.codecs.pickled import PICKLED
from valuestore.values.codecs.plain import MAY_GO_STALE, PLAIN_CODECS
from valuestore.values.identity.attributes import instance_attributes
from valuestore.values.identity.builtins import PLAIN_TYPE_NAMES
from valuestore.values.identity.canonical import Refused, TypeRule, explain_depth
from valuestore.values.identity.families import has_fields_alone, with_attributes
from valuestore.values.identity.rulebook import Rulebook
from valuestore.values.value import Value, hooks_in_use

_LEAVES = ATOMS | {complex}
_OPEN = object()


class KnownRules(Protocol):
    """Where the rule of a class is looked up: the registry."""

    def known_rule(self, cls: type, /) -> TypeRule | None:
        """The rule of the class, or None if it has none."""


def iter_asked(obj: object, rules: KnownRules) -> Iterator[object]:
    """The Values in an object and whatever else may go stale, outermost first, each object once."""
    for part in _iter_parts(obj, rules):
        rule = None if isinstance(part, Value) else rules.known_rule(type(part))
        if isinstance(part, Value) or (rule is not None and rule.is_valid is not None):
            yield part


def holds_own_code(obj: object, rules: KnownRules) -> bool:
    """Whether a function or class of the user's is in the object."""
    return any(
        isinstance(part, types.FunctionType | type) and is_own(part.__module__)
        for part in _iter_parts(obj, rules)
    )


def own_classes(obj: object, rules: KnownRules) -> frozenset[type]:
    """The user's own classes of the objects in it, as hashing it finds them."""
    return frozenset(type(part) for part in _iter_parts(obj, rules) if is_own_class(part))


def _iter_parts(obj: object, rules: KnownRules) -> Iterator[object]:
    """Everything inside, itself included, but for atoms and Python's own containers."""
    stack = [obj]
    seen: dict[int, object] = {}  # the objects are kept, or another could get the id of one that is gone
    while stack:
        current = stack.pop()
        kind = type(current)
        if kind in _LEAVES or id(current) in seen:
            continue
        seen[id(current)] = current
        if isinstance(current, Value):
            yield current
            stack.extend(current.iter_subvalues())
            if type(current).identity is Value.identity:
                stack.extend(instance_attributes(current).values())
            elif current.external() is None:  # else asking what it is looks at the outside, as it does itself
                with suppress(NotHashableError):
                    stack.append(current.identity())
        elif kind in (list, tuple, set, frozenset):
            stack.extend(current)  # type: ignore[arg-type]
        elif kind is dict:
            stack.extend(current.keys())  # type: ignore[attr-defined]
            stack.extend(current.values())  # type: ignore[attr-defined]
        elif kind not in PLAIN_TYPE_NAMES and (rule := rules.known_rule(kind)) is not None:
            yield current
            codec = rule.codec_of(current)
            if codec is None or codec is PICKLED:
                with suppress(Refused):  # what has no identity holds nothing that could be asked
                    stack.append(rule.identity(current))


def map_values(obj: Any, function: Callable[[Value], Any]) -> Any:
    """``obj`` with ``function(value)`` for each Value in it; the same object if none was replaced.

    Looks into list, tuple, set, frozenset, dict (keys and values), deque, named tuples, and objects of
    dataclasses, attrs and pydantic classes, which are rebuilt without running their code; not into Values
    nor objects of other classes. A Value that is met twice is replaced by one object.
    Raises: NotHashableError if ``obj`` contains itself or is nested too deeply; what ``function`` raises.
    """
    try:
        return _Mapping(function).mapped(obj)
    except RecursionError:
        raise NotHashableError(*explain_depth(obj)) from None


class _Mapping:
    """One pass over an object, in which every part of it is visited once."""

    def __init__(self, function: Callable[[Value], Any]) -> None:
        self.function = function
        self.done: dict[int, tuple[Any, Any]] = {}

    def mapped(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _LEAVES:
            return obj
        rebuild = self.function if issubclass(kind, Value) else self._way_into(kind, obj)
        if rebuild is None:
            return obj
        known = self.done.get(id(obj))
        if known is None:
            self.done[id(obj)] = obj, _OPEN
            known = self.done[id(obj)] = obj, rebuild(obj)
        elif known[1] is _OPEN:
            raise NotHashableError("the value", "it contains itself")
        return known[1]

    def _way_into(self, kind: type, obj: Any) -> Callable[[Any], Any] | None:
        """How to rebuild such an object, or None if no Value can be met in it."""
        if kind in (list, tuple, set, frozenset, collections.deque):
            return None if _LEAVES.issuperset(map(type, obj)) else self._items
        if kind in (dict, collections.OrderedDict, collections.defaultdict):
            atoms = _LEAVES.issuperset(map(type, obj)) and _LEAVES.issuperset(map(type, obj.values()))
            return None if atoms else self._pairs
        if issubclass(kind, tuple) and hasattr(kind, "_fields") and kind.__mro__[1] is tuple:
            return self._items
        return self._fields if has_fields_alone(kind) else None

    def _items(self, obj: Any) -> Any:
        items = list(obj)
        mapped = [self.mapped(item) for item in items]
        if _same(items, mapped):
            return obj
        if isinstance(obj, tuple):
            return tuple.__new__(type(obj), mapped)
        return (
            collections.deque(mapped, obj.maxlen) if isinstance(obj, collections.deque) else type(obj)(mapped)
        )

    def _pairs(self, obj: Any) -> Any:
        parts = [part for pair in obj.items() for part in pair]
        mapped = [self.mapped(part) for part in parts]
        if _same(parts, mapped):
            return obj
        pairs = zip(mapped[::2], mapped[1::2], strict=True)
        if isinstance(obj, collections.defaultdict):
            return collections.defaultdict(obj.default_factory, pairs)
        return type(obj)(pairs)

    def _fields(self, obj: Any) -> Any:
        attributes = instance_attributes(obj)
        mapped = [self.mapped(value) for value in attributes.values()]
        if _same(list(attributes.values()), mapped):
            return obj
        return with_attributes(type(obj), dict(zip(attributes, mapped, strict=True)))


def _same(before: list[Any], after: list[Any]) -> bool:
    return all(one is other for one, other in zip(before, after, strict=True))


class Insides(Rulebook):
    """A rulebook that says what is inside an object. The registry is one."""

    def hash(self, obj: object) -> Digest:
        """The value hash. Raises: NotHashableError."""
        raise NotImplementedError

    def iter_values(self, obj: object) -> Iterator[Value]:
        """Every ``Value`` in the object, however deep, and the values inside each; each once."""
        return (found for found in iter_asked(obj, self) if isinstance(found, Value))

    def is_valid(self, obj: object) -> bool:
        """Whether everything inside that stands for outside state is still true of it."""
        for found in iter_asked(obj, self):
            if isinstance(found, Value):
                if not found.is_valid():
                    return False
            elif (valid := self._rules[type(found)].is_valid) is not None and not valid(found):
                return False
        return True

    def may_go_stale(self, codec: str, type_name: str) -> bool:
        """Whether a stored value may hold what stands for outside state: plain data and arrays cannot.

        Libraries that valuestore has the rules for are not imported to tell.
        """
        if codec in MAY_GO_STALE:
            return True
        if codec in PLAIN_CODECS or is_built_in("types", type_name.partition(".")[0]):
            return False
        try:
            return self.rule_named(type_name).is_valid is not None
        except DecodeError:  # of a class that is not here: loading it says so
            return True

    def is_code_current(self, obj: object, value_hash: Digest) -> bool:
        """Whether what was loaded as ``value_hash`` holds no code of the user's that has changed since.

        Typed payloads tell that by themselves; a pickle refers to functions by name.
        """
        if not holds_own_code(obj, self):
            return True
        try:
            return self.hash(obj) == value_hash
        except NotHashableError:
            return False

    def map_values(self, obj: Any, function: Callable[[Value], Any]) -> Any:
        """``obj`` with ``function(value)`` for each Value in it; the same object if none was replaced.

        See nested.py for where it looks. Raises: NotHashableError for cycles; what ``function`` raises.
        """
        return map_values(obj, function)

    def preprocess(self, obj: Any, *, position_of: Callable[[], int]) -> Any:
        """What a task is given in place of ``obj``: each Value in it as its ``preprocess`` says."""
        if "preprocess" not in hooks_in_use:
            return obj
        return map_values(obj, lambda value: value.preprocess(position=position_of()))

    def postprocess(self, obj: Any, *, eval_hash: str) -> Any:
        """What is kept in place of ``obj`` that a task returned: each Value as its ``postprocess`` says."""
        if "postprocess" not in hooks_in_use:
            return obj
        return map_values(obj, lambda value: value.postprocess(eval_hash=eval_hash))
