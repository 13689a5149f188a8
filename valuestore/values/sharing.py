"""Sharing: how large an object is once each part is written out wherever it is met.

The encoding has no memo, so ``x = [x, x]`` sixty times over would be written 2**60 times. ``may_grow`` is a
quick look, taken at everything that is encoded; ``check_growth`` counts exactly, each part once.
Called by canonical.py.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from valuestore.errors import NotHashableError

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_CONTAINERS = frozenset({list, tuple, dict})
_are_atoms = _ATOMS.issuperset
_MANY_PARTS = 10_000_000
_MANY_TIMES = 16
_LOOKED_AT = 64
_DEEP = 20
_LONG = 64
_FEW = 3


def may_grow(obj: Any) -> bool:
    """Whether a look at some parts of a list, tuple or dict shows one that is met twice, or many levels.

    At most 64 containers are looked at, so a part that is shared deep inside a large object can be missed.
    """
    if len(obj) <= _LONG:  # two levels at most: what most values are, so it has to be told at once
        parts = obj.values() if type(obj) is dict else obj
        if _are_atoms(map(type, parts)) or all(map(_is_flat, parts)):
            return False
    return _shows_sharing(obj)


def _is_flat(part: Any) -> bool:
    kind = type(part)
    if kind not in _CONTAINERS:
        return True
    return len(part) <= _LONG and _are_atoms(map(type, part.values() if kind is dict else part))


def _shows_sharing(obj: Any) -> bool:
    seen = {id(obj)}
    stack = [(obj, 0)]
    looked_at = 0
    while stack and looked_at < _LOOKED_AT:
        current, depth = stack.pop()
        looked_at += 1
        followed = 0
        for part in _sample(current):
            if type(part) in _CONTAINERS and part:
                if id(part) in seen or depth >= _DEEP:
                    return True
                seen.add(id(part))
                if followed < _FEW:
                    followed += 1
                    stack.append((part, depth + 1))
    return False


def _sample(obj: Any) -> Any:
    if type(obj) is dict:
        return islice(obj.values(), _LONG)
    return obj if len(obj) <= _LONG else (*obj[: _LONG // 2], *obj[-_LONG // 2 :])


def check_growth(obj: Any) -> None:
    """Raises: NotHashableError if parts are met so often that writing them out would take for ever.

    That is: over 10 million parts, and over 16 times as many as there are. RecursionError if ``obj``
    contains itself.
    """
    sizes: dict[int, int] = {}
    there_are = 0
    stack: list[tuple[Any, bool]] = [(obj, False)]
    open_: set[int] = set()
    while stack:
        current, leaving = stack.pop()
        children = [part for part in _parts(current) if type(part) in _CONTAINERS]
        if leaving:
            open_.discard(id(current))
            sizes[id(current)] = len(current) + sum(sizes[id(part)] for part in children)
        elif id(current) not in sizes:
            there_are += len(current)
            open_.add(id(current))
            stack.append((current, True))
            for part in children:
                if id(part) in open_:
                    raise RecursionError("it contains itself")
                if id(part) not in sizes:
                    stack.append((part, False))
    size = sizes[id(obj)]
    if size > _MANY_PARTS and size > _MANY_TIMES * there_are:
        text = f"{size:,}" if size < 10**15 else f"some 10**{round(size.bit_length() * 0.30103)}"
        raise NotHashableError(
            "the value", f"its {there_are} parts are shared so often that they would be written as {text}"
        )


def _parts(obj: Any) -> Any:
    return [*obj.keys(), *obj.values()] if type(obj) is dict else obj
