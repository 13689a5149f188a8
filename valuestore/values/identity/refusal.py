"""Refusal: why an object has no identity, and where in it the part is that has none: what contains itself, is
nested too deeply, or would be too large once each part is written out wherever it is met.

The encoding has no memo, so ``x = [x, x]`` sixty times over would be written 2**60 times. ``may_grow`` is a
quick look, taken at everything that is encoded; ``check_growth`` counts exactly, each part once. Called by
canonical.py and by whoever says what an object of some class is.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import ATOMS, is_short_plain

_LONGEST_PATH = 200


class Refused(Exception):
    """Why an object has no identity, and the path to it, innermost first; ``error``: what it becomes."""

    error: type[NotHashableError] = NotHashableError

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.parts: list[str] = []


def path_text(parts: list[str]) -> str:
    """The path for people, its middle left out if it is long. ``parts``: innermost first."""
    path = "value" + "".join(reversed(parts))
    return path if len(path) <= _LONGEST_PATH else path[:100] + "..." + path[-80:]


def short_text(key: object) -> str:
    """A key as it is shown in a path."""
    if type(key) is str:
        return repr(key if len(key) <= 40 else key[:40] + "...")
    return repr(key) if type(key) in (int, bool, bytes, float) else f"<{type(key).__name__}>"


def explain_depth(obj: Any) -> tuple[str, str]:
    """Path and reason of endless or too deep nesting. Iterative; called on the error path alone."""
    on_path: set[int] = set()
    done: set[int] = set()
    stack: list[tuple[Any, str, bool]] = [(obj, "", False)]
    trail: list[str] = []
    while stack:
        current, part, leaving = stack.pop()
        if leaving:
            on_path.discard(id(current))
            done.add(id(current))
            trail.pop()
            continue
        if id(current) in on_path:
            return path_text([part, *reversed(trail)]), "it contains itself"
        if id(current) in done:
            continue
        children = _children(current)
        if children:
            on_path.add(id(current))
            trail.append(part)
            stack.append((current, part, True))
            stack.extend((child, name, False) for name, child in reversed(children))
    return "value", "it is nested too deeply"


def _children(obj: Any) -> list[tuple[str, Any]]:
    """What is in a container. Objects may lead back to themselves (cycles.py), so these are not followed."""
    if isinstance(obj, dict):
        return [(f"[{short_text(key)}]", value) for key, value in obj.items()]
    if isinstance(obj, list | tuple):
        return [(f"[{index}]", item) for index, item in enumerate(obj)]
    return []


_CONTAINERS = frozenset({list, tuple, dict})
_are_atoms = ATOMS.issuperset
MANY_PARTS = 10_000_000
MANY_TIMES = 16
"""What would be more parts than this, and so many times what is there, is neither written out nor read."""
_LOOKED_AT = 64
_MANY_LOOKED_AT = 512
_DEEP = 20
_LONG = 64
_FEW = 3


def may_grow(obj: Any) -> bool:
    """Whether a look at some parts of a list, tuple or dict shows one that is met twice, or many levels.

    Exact for what is written in less than 64 KiB. Of larger objects some containers are looked at, so a part
    that is shared deep inside one can be missed. Raises: as ``encode_plain``.
    """
    if len(obj) <= _LONG:  # most values are small, and told at the speed of the pickler
        parts = obj.values() if type(obj) is dict else obj
        if _are_atoms(map(type, parts)) or is_short_plain(obj):
            return False
        return _shows_sharing(obj, _MANY_LOOKED_AT, _LONG)
    return _shows_sharing(obj, _LOOKED_AT, _FEW)


def _shows_sharing(obj: Any, most: int, followed: int) -> bool:
    """Whether one of the first ``most`` containers, level by level, is met twice or is deep inside.

    Of each container so many parts are ``followed``.
    """
    seen = {id(obj)}
    queue = [(obj, 0)]
    for current, depth in queue:
        sample = _sample(current)
        if _are_atoms(map(type, sample)):
            continue
        room = min(followed, most - len(queue))
        for part in sample:
            if type(part) in _CONTAINERS and part:
                if id(part) in seen or depth >= _DEEP:
                    return True
                seen.add(id(part))
                if room > 0:
                    room -= 1
                    queue.append((part, depth + 1))
    return False


def _sample(obj: Any) -> Any:
    if type(obj) is dict:
        return tuple(islice(obj.values(), _LONG))
    return obj if len(obj) <= _LONG else (*obj[: _LONG // 2], *obj[-_LONG // 2 :])


def check_growth(obj: Any) -> None:
    """Raises: NotHashableError if parts are met so often that writing them out would take for ever.

    That is: over 10 million, and over 16 times what is there. RecursionError if ``obj`` contains itself.
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
    if size > MANY_PARTS and size > MANY_TIMES * there_are:
        text = f"{size:,}" if size < 10**15 else f"some 10**{round(size.bit_length() * 0.30103)}"
        raise NotHashableError(
            "value", f"its {there_are} parts are shared so often that they would be written as {text}"
        )


def _parts(obj: Any) -> Any:
    return [*obj.keys(), *obj.values()] if type(obj) is dict else obj
