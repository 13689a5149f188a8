"""Cycles: the way down to what is being lowered, and where a part of it leads back up (parent links).

A part that is met again on its own path is told by the number of steps up to it. So the form of whatever
is on a loop depends on the part that one came in by, and is used again only where one comes in by the same.
Containers that contain themselves, no object between, are refused. Called by canonical.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from valuestore.values.identity.refusal import Refused

ABOVE = "valuestore.above"
"""The type name of a form's node that stands for a part further up; its state is the number of steps."""

NOWHERE = 0
"""A level that no part is on: the outermost is on 1."""

_BELOW_ALL = 1 << 60
_MOST_AGAIN = 30_000
_CONTAINERS = frozenset({"builtins", "collections"})


class _Loop(NamedTuple):
    """The form of the part that one came in by, and the ids of all parts that lead back to it."""

    form: Any
    parts: frozenset[int]


class Path:
    """The parts that are being lowered, the outermost first."""

    def __init__(self) -> None:
        self.open: list[Any] = []
        self.beginnings: dict[int, Any] = {}  # by id, the parts that something below them led back to
        self.loops: dict[int, _Loop] = {}  # by the ids of these
        self._highest = _BELOW_ALL  # the level that something below the innermost leads up to
        self._waiting: list[int] = []  # the ids of what leads up to a part that is still open
        self._met: set[int] = set()
        self._again = 0

    def enter(self, obj: Any) -> tuple[int, int]:
        """Go down to a part. ``leave`` wants what this gives."""
        before = self._highest, len(self._waiting)
        self._highest = _BELOW_ALL
        self.open.append(obj)
        return before

    def steps_up(self, level: int) -> int:
        """How many steps up from here that level is. Raises: Refused if nothing but containers is between."""
        if all(type(part).__module__ in _CONTAINERS for part in self.open[level - 1 :]):
            raise Refused("it contains itself")
        self._highest = min(self._highest, level)
        return len(self.open) - level + 1

    def leads_beyond(self) -> bool:
        """Whether something below the innermost part leads up to one above it."""
        return self._highest < len(self.open)

    def leave(self, obj: Any, form: Any, before: tuple[int, int]) -> bool:
        """Go up again. Whether the form is that of the part wherever it is met. Raises: Refused."""
        level = len(self.open)
        self.open.pop()
        highest = self._highest
        self._highest, waiting = before
        if highest == _BELOW_ALL:
            return True
        number = id(obj)
        if number in self._met:
            self._again += 1
            if self._again > _MOST_AGAIN:
                raise Refused("its parts lead to each other in so many ways that they cannot be written out")
        self._met.add(number)
        self._waiting.append(number)
        if highest < level:
            self._highest = min(self._highest, highest)
        else:
            self.beginnings[number] = obj
            self.loops[number] = _Loop(form, frozenset(self._waiting[waiting:]))
            del self._waiting[waiting:]
        return False

    def form_of(self, number: int) -> Any:
        """The known form of the part that a loop begins at, unless one is inside that loop already."""
        loop = self.loops.get(number)
        if loop is None or not loop.parts.isdisjoint(map(id, self.open)):
            return None
        return loop.form
