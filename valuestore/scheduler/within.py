"""Within: which call of an expression a job is of, for values that tell calls apart by position (handles)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from valuestore.hashing import Digest
from valuestore.tasks.call import Call, find_calls
from valuestore.values.identity.inside import calls_refused

HashesIn = Callable[[object], dict[int, Digest]]
"""Gives the value hash of each call in an object, by its id; a call that has none is never stored either."""


class Within:
    """An expression whose calls became jobs together, and which of its calls each is, if anybody asks."""

    __slots__ = ("_hashes_in", "_numbers", "expression", "outer")

    def __init__(self, expression: Any, hashes_in: HashesIn, outer: Within | None = None) -> None:
        self.expression = expression
        self.outer = outer  # what a control expression is met in: its own calls are told apart there
        self._hashes_in = hashes_in
        self._numbers: dict[int, int] | None = None

    def position_of(self, call: Call) -> int:
        """For values that tell calls apart by it (handles); see ``call_positions``."""
        position = self.outer._known(call) if self.outer is not None else None
        return self._all()[id(call)] if position is None else position

    def _known(self, call: Call) -> int | None:
        position = self.outer._known(call) if self.outer is not None else None
        return self._all().get(id(call)) if position is None else position

    def _all(self) -> dict[int, int]:
        if self._numbers is None:
            positions = call_positions(self.expression, self._hashes_in)
            self._numbers = {id(one): position for one, position in positions}
            self.expression = None
        return self._numbers


def call_positions(obj: Any, hashes_in: HashesIn) -> Iterator[tuple[Call, int]]:
    """Every call in ``obj`` and its position: those in arguments come before the call that takes them.

    So a call that is put around others, or after them, leaves their positions as they are. Equal calls have
    one position; so do those that the store had as trees, where a call that is used twice comes back as two.
    """
    with calls_refused(step=obj):
        hashes = hashes_in(obj)
    positions: dict[object, int] = {}
    seen: set[int] = set()
    open_calls: list[tuple[Call | None, Iterator[Call]]] = [(None, iter(find_calls(obj)))]
    while open_calls:
        call, inner = open_calls[-1]
        following = next((one for one in inner if id(one) not in seen), None)
        if following is not None:
            seen.add(id(following))
            open_calls.append((following, iter(find_calls(following._arguments))))
            continue
        open_calls.pop()
        if call is not None:
            yield call, positions.setdefault(hashes.get(id(call), id(call)), len(positions))
