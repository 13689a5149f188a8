"""Inside: which containers valuestore looks into, what they hold, and how they are rebuilt with other parts.

One rule for calls, Values, files and handles. Looked into are the containers of Python, named tuples, and
objects of dataclasses, attrs and pydantic classes; they are rebuilt without running any code of theirs.
Other objects, those of subclasses of ``list`` and its like among them, may hold more than their parts say.
Calls that are in these are refused (``calls_refused``). Not the way to an identity (canonical.py).
"""

from __future__ import annotations

import collections
import enum
import gc
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import chain
from typing import Any, NamedTuple

from valuestore.errors import MisplacedCall, NotHashableError
from valuestore.hashing import ATOMS
from valuestore.values.identity.attributes import (
    HEAP_TYPE,
    instance_attributes,
    instance_dictionary,
    layout_of,
    set_attributes,
)
from valuestore.values.identity.canonical import Refused
from valuestore.values.identity.families import has_fields_alone, with_attributes
from valuestore.values.value import Value

_are_atoms = ATOMS.issuperset
_flat = chain.from_iterable
_OPEN, _HOLDS, _EMPTY = range(3)


class Container(NamedTuple):
    """How objects of a class are looked into: their parts, and such an object with others in their places."""

    parts: Callable[[Any], Collection[Any]]
    rebuilt: Callable[[Any, list[Any]], Any]


class Found(NamedTuple):
    """What is inside an object: the ``leaves`` that were looked for, and the ``others``, not looked into.

    Both in order. ``holders`` are the containers with leaves in them, each once, after those inside it.
    """

    obj: Any
    leaves: list[Any]
    others: list[Any]
    holders: list[tuple[Any, Container]]

    def replaced(self, function: Callable[[Any], Any]) -> Any:
        """The object with ``function(leaf)`` for each leaf, asked once for each; itself if none differs.

        Containers that hold none stay the objects they are; one that is met twice is rebuilt once.
        """
        new: dict[int, Any] = {}
        for leaf in self.leaves:
            if id(leaf) not in new:
                new[id(leaf)] = function(leaf)
        for holder, container in self.holders:
            parts = container.parts(holder)
            others = [new.get(id(part), part) for part in parts]
            if any(part is not other for part, other in zip(parts, others, strict=True)):
                new[id(holder)] = container.rebuilt(holder, others)
        return new.get(id(self.obj), self.obj)


def find(obj: Any, leaf: type, within: Container | None = None) -> Found:
    """The outermost objects of class ``leaf`` in ``obj``; those of a container that is met twice, once.

    ``within`` says how leaves are looked into: then those inside them are found as well, each once, and
    leaves are among the ``holders``. Raises: NotHashableError if a plain container contains itself, or
    anything does that holds leaves.
    """
    found = Found(obj, [], [], [])
    if type(obj) in ATOMS:
        return found
    seen: dict[int, int] = {}
    ends: list[int] = []  # of cycles
    stack: list[Any] = [[None, None, iter((obj,)), False]]
    while stack:
        frame = stack[-1]
        for part in frame[2]:
            kind = type(part)
            if kind in ATOMS:
                continue
            state = seen.get(id(part))
            if state is None:
                container = _KNOWN.get(kind) or container_of(kind)
                is_leaf = container is None and issubclass(kind, leaf)
                if container is None:
                    (found.leaves if is_leaf else found.others).append(part)
                    frame[3] = frame[3] or is_leaf
                    container = within
                    if container is None or not is_leaf:
                        continue
                parts = part if kind is list else container.parts(part)
                if not is_leaf and _are_atoms(map(type, parts)):
                    seen[id(part)] = _EMPTY
                    continue
                seen[id(part)] = _OPEN
                stack.append([part, container, iter(parts), is_leaf])
                break
            if state == _HOLDS:
                frame[3] = True
            elif state == _OPEN:
                _check_cycle(stack, part)
                ends.append(id(part))
        else:
            holder, container, _, holds = stack.pop()
            if stack:
                seen[id(holder)] = _HOLDS if holds else _EMPTY
            if stack and holds:
                found.holders.append((holder, container))
                stack[-1][3] = True
    if any(seen[end] == _HOLDS for end in ends):
        raise NotHashableError("the value", "it contains itself")
    return found


def _check_cycle(stack: list[Any], end: Any) -> None:
    """Raises: NotHashableError unless an object is on the way, as that of a child to its parent."""
    for frame in reversed(stack):
        if type(frame[0]) not in _PLAIN:
            return
        if frame[0] is end:
            raise NotHashableError("the value", "it contains itself")


def _container_of(cls: type) -> Container | None:
    known = _KNOWN.get(cls)
    if known is not None or issubclass(cls, Value | enum.Enum):
        return known
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        is_tuple = all(base.__flags__ & HEAP_TYPE or base in (tuple, object) for base in cls.__mro__)
        return _NAMED_TUPLE if is_tuple else None
    return _fields(cls) if has_fields_alone(cls) and not layout_of(cls).unclear else None  # type: ignore[arg-type]  # a class is hashable


container_of: Callable[[type], Container | None] = lru_cache(maxsize=4096)(_container_of)
"""How objects of a class are looked into, or None if they are not."""


def _fields(cls: type) -> Container:
    """Of a class whose objects are their attributes. What they keep only to save time is left behind."""
    layout = layout_of(cls)
    attributes_of = instance_attributes if layout.slots or layout.saved else instance_dictionary

    def rebuilt(obj: Any, parts: list[Any]) -> Any:
        return with_attributes(cls, dict(zip(instance_attributes(obj), parts, strict=True)))

    return Container(lambda obj: attributes_of(obj).values(), rebuilt)


def _items(make: Callable[[Any, list[Any]], Any]) -> Container:
    return Container(lambda obj: obj, make)


def _pairs(make: Callable[[dict[Any, Any]], Any]) -> Container:
    def rebuilt(obj: Any, parts: list[Any]) -> Any:
        return _with_attributes_of(obj, make(dict(zip(parts[::2], parts[1::2], strict=True))))

    return Container(lambda obj: [*_flat(obj.items())], rebuilt)


def _with_attributes_of(obj: Any, made: Any) -> Any:
    """What an object carries beside its parts is not lost, or it would not be refused for it."""
    if attributes := instance_dictionary(obj):
        set_attributes(made, attributes)
    return made


def _namespace(attributes: Iterable[tuple[str, Any]]) -> types.SimpleNamespace:
    made = types.SimpleNamespace()
    vars(made).update(attributes)
    return made


_PLAIN = frozenset({list, tuple, dict, set, frozenset})
_NAMED_TUPLE = Container(
    lambda obj: tuple(tuple.__iter__(obj)),
    lambda obj, parts: _with_attributes_of(obj, tuple.__new__(type(obj), parts)),
)
_KNOWN = {
    list: _items(lambda _, parts: parts),
    tuple: _items(lambda _, parts: tuple(parts)),
    set: _items(lambda _, parts: set(parts)),
    frozenset: _items(lambda _, parts: frozenset(parts)),
    collections.deque: _items(lambda obj, parts: collections.deque(parts, obj.maxlen)),
    dict: _pairs(lambda pairs: pairs),
    collections.OrderedDict: _pairs(collections.OrderedDict),
    collections.Counter: _pairs(collections.Counter),
    collections.defaultdict: Container(
        lambda obj: [obj.default_factory, *_flat(obj.items())],
        lambda _, parts: collections.defaultdict(parts[0], zip(parts[1::2], parts[2::2], strict=True)),
    ),
    collections.ChainMap: _fields(collections.ChainMap),
    types.SimpleNamespace: Container(
        lambda obj: vars(obj).values(),
        lambda obj, parts: _namespace(zip(vars(obj), parts, strict=True)),
    ),
    types.MappingProxyType: Container(gc.get_referents, lambda _, parts: types.MappingProxyType(parts[0])),
}


# --- Calls that are where nothing evaluates them ----------------------------------------------------


class Lazy:
    """The base of what stands for a value that comes later: calls, and operations on them."""

    __slots__ = ()

    def _parts(self) -> Collection[Any]:
        """What it is given."""
        raise NotImplementedError


LAZY = Container(lambda lazy: lazy._parts(), lambda lazy, _: lazy)


def rows_of(obj: object) -> tuple[list[Any], list[Any]]:
    """Calls, operations and the containers that hold some, each once, after those inside it; ``obj`` is last.

    Then the same with the objects that several calls are given. Raises: NotHashableError for endless ones.
    """
    holders = find(obj, Lazy, LAZY).holders
    given = [[] if container is not LAZY else holder._parts() for holder, container in holders]
    times = collections.Counter(id(part) for part in _flat(given) if type(part) not in ATOMS)
    stored: dict[int, Any] = {}
    for (holder, _), parts in zip(holders, given, strict=True):
        stored.update((id(part), part) for part in parts if times[id(part)] > 1)
        stored[id(holder)] = holder
    return [holder for holder, _ in holders], list(stored.values())


class Misplaced(Refused):
    """A call that is met where it is not evaluated."""

    error = MisplacedCall


_evaluated_in: ContextVar[Callable[[], list[Any]] | None] = ContextVar("calls_evaluated_in", default=None)


@contextmanager
def calls_refused(step: object = None) -> Iterator[None]:
    """Within it, no value holds calls, but for ``step`` if these are where they will be evaluated."""
    token = _evaluated_in.set(cache(lambda: find(step, Lazy).leaves))  # asked at each call, if there is one
    try:
        yield
    finally:
        _evaluated_in.reset(token)


def check_place(call: Lazy) -> None:
    """Called when a value is found to hold a call. Raises: Misplaced."""
    evaluated = _evaluated_in.get()
    if evaluated is not None and not evaluated():
        raise Misplaced(repr(call))


def referents(obj: object) -> list[Any]:
    """What an object that has no identity refers to, without the program around it."""
    if isinstance(obj, types.FunctionType):
        return [obj.__closure__, obj.__defaults__, obj.__kwdefaults__, obj.__dict__]
    if issubclass(type(obj), type | types.ModuleType) or type(obj).__module__.startswith("valuestore."):
        return []
    return gc.get_referents(obj)
