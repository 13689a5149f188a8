"""Positions: which of its parent's calls a call is, for values that tell calls apart by that (handles)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from valuestore.errors import ValuestoreError
from valuestore.tasks.expression import Call, calls_in


def call_positions(obj: Any, hash_of: Callable[[object], str]) -> Iterator[tuple[Call, int]]:
    """Every call in ``obj`` and its position: those in arguments come before the call that takes them.

    So a call that is put around others, or after them, leaves their positions as they are. Equal calls have
    one position, since a call that is used twice comes back from a store as two.
    """
    positions: dict[object, int] = {}
    seen: set[int] = set()
    open_calls: list[tuple[Call | None, Iterator[Call]]] = [(None, calls_in(obj))]
    while open_calls:
        call, inner = open_calls[-1]
        following = next((one for one in inner if id(one) not in seen), None)
        if following is not None:
            seen.add(id(following))
            open_calls.append((following, calls_in(following._arguments)))
            continue
        open_calls.pop()
        if call is not None:
            yield call, positions.setdefault(_key(call, hash_of), len(positions))


def _key(call: Call, hash_of: Callable[[object], str]) -> object:
    try:
        return hash_of(call)
    except ValuestoreError:  # then it is never stored either
        return id(call)
