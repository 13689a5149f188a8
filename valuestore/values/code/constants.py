"""Reduced: the identity of a constant of any class, and what is in it.

Type name and reduction (reduction.py), lowered like any value; classes and functions in it
count by name. Used for constants that a task's code refers to (a compiled pattern, an object of one's
own class). It is an identity only: nothing is stored in this form. ``contents`` and ``held`` find the
functions and classes in an object, for function.py to count them by their code.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import copyreg
import dataclasses
import functools
import gc
import itertools
import types
import typing
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import ATOMS, Bytes, encode_plain
from valuestore.values.code.ownership import (
    follow,
    imported_by,
    is_namespace,
    is_own,
    is_own_class,
    is_own_code,
)
from valuestore.values.code.source import chains_in_text, seen_by_checkers
from valuestore.values.identity.attributes import instance_dictionary
from valuestore.values.identity.canonical import Codec, Refused, TypeRule, lower
from valuestore.values.identity.reduction import name_of, reduction
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, asked, is_task, module_name_of, type_name_of

_NAMED = (
    type,
    functools._lru_cache_wrapper,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
)
_CODE = (
    type,
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    functools.singledispatchmethod,
    staticmethod,
    classmethod,
    property,
)
_CLOSED = (type, types.ModuleType, types.FrameType, types.CodeType, types.TracebackType)
_SILENT = ("logging", "valuestore")
"""Libraries whose objects lead to all of the program and say nothing of results."""
_TYPING = ("types", "typing", "typing_extensions")
_OF_TYPING = ("origin", "args", "metadata", "bound", "constraints", "supertype", "value", "default")
_MOST_HELD = 1000
_MOST_PARTS = 100_000
_EMPTY = types.CellType()
_WITH_ATTRIBUTES = (types.FunctionType, functools._lru_cache_wrapper, functools.partial)
TRANSPARENT = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
"""What is around a function and holds nothing else."""
_SEQUENCES = (list, tuple, collections.deque)
_CONTAINERS = (
    *(dict, list, tuple, set, frozenset, collections.deque, types.MappingProxyType, types.SimpleNamespace),
    *(types.MethodType, functools.partial),
)
_LEAVES = ATOMS | {complex}


class Reducing:
    """A registry's rules, but classes and functions by name, and what has no rule by its reduction."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry
        self._classes: dict[type, None] = {}
        self._named: list[Any] = []
        self._reduced: list[Any] = []
        self._encoded: list[Any] = []

    def rule_for(self, cls: type, /) -> TypeRule:
        """The rule of a class. Never refuses; the rule it makes up may."""
        self._classes[cls] = None
        if issubclass(cls, _NAMED):
            return TypeRule(cls, f"reduced:{type_name_of(cls)}", self._name, _never)
        try:
            rule = self.registry.rule_for(cls)
        except Refused:
            rule = None
        if rule is None or rule.identity is reduction or rule.type_name == "valuestore.Task":
            return TypeRule(cls, f"reduced:{type_name_of(cls)}", self._reduction, _never)
        if rule.codec is not None:  # what an array holds is not asked about
            return dataclasses.replace(rule, identity=functools.partial(self._encoding, rule))
        return rule

    def _name(self, obj: Any) -> Plain:
        self._named.append(obj)
        return name_of(obj)

    def _encoding(self, rule: TypeRule, obj: Any) -> Plain:
        self._encoded.append(obj)
        return rule.identity(obj)

    def _reduction(self, obj: Any) -> Plain:
        self._reduced.append(obj)
        return reduction(obj)

    def code(self) -> Iterator[Any]:
        """The user's own functions and classes among all that was asked about until now, in its order."""
        yield from filter(is_own_code, self._classes)
        for named in self._named:
            yield from [named] if is_own_code(named) else held(named)
        for reduced in self._reduced:  # which names a class or function that it starts from by itself
            parts = [*gc.get_referents(reduced), *instance_dictionary(reduced).values()]
            parts += [part.func for part in parts if type(part) is functools.partial]
            yield from sorted(filter(is_own_code, {id(part): part for part in parts}.values()), key=order)
        for encoded in self._encoded:
            yield from held(encoded)

    def encode_as(self, codec: Codec, obj: object, /) -> Iterable[Bytes]:
        return self.registry.encode_as(codec, obj)


def _never(_state: Plain) -> Any:
    raise AssertionError("a reduced identity is never lifted")


# --- what is in an object -----------------------------------------------------------------------


def contents(obj: Any) -> Iterator[Any]:
    """Whatever inside ``obj`` has code, and each object of an own class in it (``obj`` too), in fixed order.

    Looks into containers and into objects of own classes; what a library's object holds is its affair.
    """
    seen: dict[int, Any] = {}
    pending = [obj]
    while pending:
        item = pending.pop()
        if type(item) in _LEAVES or id(item) in seen:
            continue
        if isinstance(item, _CODE) or is_task(item):
            yield item  # each time, since lambdas share a name and their order counts
            continue
        seen[id(item)] = item
        if is_own_class(item):
            yield item
        elif item is not obj and asked(item, "__wrapped__") is not None:
            yield item
            continue
        pending.extend(reversed(_children(item)))


def classes_of_defaults(function: types.FunctionType) -> list[type]:
    """Own classes of objects that are defaults of a task: as its arguments they count by content alone."""
    items = contents([function.__defaults__, function.__kwdefaults__])
    return [type(item) for item in items if is_own_code(type(item))]


def _children(obj: Any) -> list[Any]:
    children: list[Any] = []
    if isinstance(obj, dict | types.MappingProxyType):
        children = [part for pair in obj.items() for part in pair]
    elif isinstance(obj, _SEQUENCES):
        children = list(obj)
    elif isinstance(obj, set | frozenset):
        children = sorted(obj, key=order)
    if is_own_class(obj):
        names = copyreg._slotnames(type(obj))  # type: ignore[attr-defined]
        children += [getattr(obj, name) for name in names if hasattr(obj, name)]
    if is_own_class(obj) or isinstance(obj, types.SimpleNamespace):
        children += getattr(obj, "__dict__", {}).values()
    return children


# --- what classes hold, and whatever else has parts ---------------------------------------------


def held(obj: Any) -> list[Any]:
    """One's own functions and classes, and tasks, inside any object but ``obj`` itself, in fixed order.

    Whatever the garbage collector can reach, through nobody's classes, modules and frames. The objects
    nearest by are looked at, a thousand of them: who holds more holds the whole program.
    """
    return reached(obj)[0]


def reached(obj: Any) -> tuple[list[Any], bool]:
    """As ``held``, and whether that is all."""
    found: list[Any] = []
    seen: dict[int, Any] = {}
    pending: collections.deque[Any] = collections.deque([obj])
    while pending and len(seen) < _MOST_HELD:
        item = pending.popleft()
        if type(item) in _LEAVES or id(item) in seen:
            continue
        seen[id(item)] = item
        if item is not obj and (is_own_code(item) or "__valuestore_task__" in instance_dictionary(item)):
            found.append(item)
            continue
        if is_own_code(type(item)):
            found.append(type(item))
        pending.extend(itertools.islice(_referents(item), _MOST_HELD))
    return sorted(found, key=order), not pending


def _referents(obj: Any) -> Iterable[Any]:
    kind = type(obj)
    if issubclass(kind, _CLOSED) or kind.__module__.partition(".")[0] in _SILENT:
        return ()
    if kind is types.FunctionType:
        cells = [cell for cell in obj.__closure__ or () if cell != _EMPTY]
        return [*(cell.cell_contents for cell in cells), *vars(obj).values()]
    if kind is dict and is_namespace(obj):
        return ()
    if issubclass(kind, weakref.ref):
        return (obj(),)
    if kind is functools._lru_cache_wrapper:  # not the results that it keeps
        return list(vars(obj).values())
    if issubclass(kind, set | frozenset):
        return sorted(obj, key=order)
    if type_name_of(kind) == "numpy.ndarray":
        return obj.flat[:_MOST_HELD].tolist() if obj.dtype.hasobject else ()
    referents: list[Any] = gc.get_referents(obj)
    if kind.__module__ in _TYPING:
        referents += _typing_parts(obj)
    return referents


def own_code_in(owner: Any) -> Iterator[Any]:
    """Own functions and classes that somebody put into a library's module or class, or into a base of it."""
    at_home = {id(vars(owner))} if isinstance(owner, types.ModuleType) else set()
    for holder in [owner] if isinstance(owner, types.ModuleType) else owner.__mro__:
        for value in [] if is_own(getattr(holder, "__module__", "")) else list(vars(holder).values()):
            kind = type(value)
            if kind is types.FunctionType:
                if id(value.__globals__) not in at_home and "__name__" in value.__globals__:
                    yield from [value] if is_own_code(value) else ()
                    at_home |= set() if is_own_code(value) else {id(value.__globals__)}
            elif issubclass(kind, type):
                yield from [value] if is_own_code(value) else ()
            elif kind in (*TRANSPARENT, functools.partial, types.MethodType):
                yield from held(value)
            elif kind.__module__ != "builtins":  # a library's descriptor, as of an accessor
                parts = [*gc.get_referents(value), *instance_dictionary(value).values()]
                yield from filter(is_own_code, parts)


def attribute_of_wrapper(obj: Any, chain: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """What the code reads from a library's function, a task or a wrapper: ``cached.factor``."""
    name = chain[0] if chain else "__"
    if name.startswith("__") or is_own_code(obj) or is_own_class(obj):
        return
    if isinstance(obj, _WITH_ATTRIBUTES) or (
        is_task(obj) and name not in type(obj).__init__.__code__.co_names
    ):
        yield from ((name, value) for key, value in instance_dictionary(obj).items() if key == name)


def in_annotations(
    referred: Iterable[tuple[str, ...]], names: Mapping[str, Any]
) -> Iterator[tuple[Any, bool]]:
    """The classes, and own code, that annotations lead to: each, and whether they name it themselves.

    Names that only type checkers import are looked up where they are imported from.
    """
    checked: Mapping[str, Any] | None = None
    for chain in referred:
        found = follow(names, chain)
        if found is None and chain[0] not in vars(builtins):
            checked = imported_by(seen_by_checkers(names), names)[0] if checked is None else checked
            found = follow(checked, chain)
        if found is not None:
            yield from in_annotation([found.obj], names)


def in_annotation(objects: Iterable[Any], names: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """The same of annotations that are objects, as aliases are."""
    for obj in objects:
        if isinstance(obj, type):
            yield obj, True
        elif type(obj) is not types.FunctionType or is_own_code(obj):
            yield from ((item, False) for item in (obj, *held(obj)) if is_own_code(item))
            for text in _names_in_annotation(obj):
                yield from ((item, False) for item, _ in in_annotations(chains_in_text(text), names))


def _names_in_annotation(obj: Any) -> Iterator[str]:
    """The texts that an annotation has in the place of classes: those of ``Optional["Model"]``."""
    pending = [obj]
    for _ in range(_MOST_HELD):
        item = pending.pop() if pending else None
        if isinstance(item, str):
            yield item
        elif isinstance(item, typing.ForwardRef):
            yield item.__forward_arg__
        elif isinstance(item, tuple):
            pending.extend(reversed(item))
        elif type(item).__module__ in _TYPING and getattr(item, "__origin__", None) is not typing.Literal:
            pending += [part for part in _typing_parts(item) if part is not getattr(item, "__metadata__", "")]


def _typing_parts(obj: Any) -> Iterator[Any]:
    for name in _OF_TYPING:
        with contextlib.suppress(Exception):  # an alias of what is not defined
            yield getattr(obj, f"__{name}__", None)


def order(obj: Any) -> tuple[str, str, str, int]:
    """A place in line that does not depend on where in memory the members of a set are."""
    line = obj.__code__.co_firstlineno if isinstance(obj, types.FunctionType) else 0
    name, module_name = asked(obj, "__qualname__"), asked(obj, "__module__") or ""
    return type_name_of(type(obj)), module_name_of(str(module_name)), str(name), line


# --- objects that have no identity as a whole -----------------------------------------------------


def in_pieces(obj: Any, rules: Reducing) -> tuple[Plain, bool]:
    """What an object that cannot be lowered is made of, each part once, and whether that says all of it.

    Parts refer to each other by number, so that cycles are told too. Containers and objects of own classes
    count part by part; one of a library counts whole, or by its class if a part of it has no identity.
    """
    lines, missing = _lines(obj, rules, strict=False)
    return lines, not missing


def _lines(obj: Any, rules: Reducing, strict: bool) -> tuple[list[Plain], int]:
    """Raises: Refused for the first part without identity, if ``strict``."""
    numbers = {id(obj): 0}
    parts = [obj]
    lines: list[Plain] = []
    missing = 0

    def reference(part: Any) -> Plain:
        if type(part) in _LEAVES or (type(part) is tuple and all(type(item) in _LEAVES for item in part)):
            return [part]
        if id(part) not in numbers:
            numbers[id(part)] = len(parts)
            parts.append(part)
        return numbers[id(part)]

    for part in parts:  # which grows
        kind = type(part)
        try:
            if strict and len(parts) > _MOST_PARTS:
                raise Refused("it is too large to be taken apart")
            if kind is list or kind is tuple:
                lines.append([kind.__name__, [reference(item) for item in part]])
            elif kind is dict:
                lines.append(["dict", [[reference(key), reference(value)] for key, value in part.items()]])
            elif strict or is_own_class(part) or issubclass(kind, _CONTAINERS):
                type_name, state = _state(part, rules)
                lines.append([type_name, reference(state)])
            else:
                lines.append(["whole", *_lines(part, rules, strict=True)])
        except Refused:
            if strict:
                raise
            missing += 1
            lines.append(["without identity", type_name_of(kind)])
    return lines, missing


def _state(obj: Any, rules: Reducing) -> tuple[str, Plain]:
    rule = rules.rule_for(type(obj))
    try:
        state = rule.identity(obj)
    except (Refused, RecursionError):
        raise
    except Exception as error:
        raise Refused(f"asking a {rule.type_name} what it is raised {error!r}") from error
    return rule.type_name, sorted(state, key=functools.partial(_content, rules)) if rule.unordered else state


def _content(rules: Reducing, obj: Any) -> tuple[bytes, tuple[str, str, str, int]]:
    try:
        return encode_plain(lower(obj, rules, stored=False).hashed), order(obj)
    except NotHashableError:
        return b"", order(obj)
