"""Lists: what is done with the items of a list that may not be there yet, such as ``map_``.

All of it is control flow (control.py): calls that the scheduler runs itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast, overload

from valuestore.errors import ArgumentError
from valuestore.tasks.call import Expression
from valuestore.tasks.control import Drawn, Steps, called, callee, control, listed

R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Items:
    """An iterator whose items are drawn once, as they are needed. It has no identity before."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items: Iterator[Any] | None = items

    def take(self) -> Iterator[Any]:
        """Raises: ArgumentError if that was done before."""
        items, self._items = self._items, None
        if items is None:
            raise ArgumentError("map_", "the items of an iterator can be drawn once; make another one")
        return items

    def __reduce__(self) -> Any:
        raise TypeError("an iterator has no identity before its items are drawn")


def map_(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The list of ``function(item)`` for each item.

    ``items`` is a list, which may be lazy, or an iterator. An iterator's items are drawn as workers free up
    and let go once their calls are done; since nobody knows them before, each call is looked up by itself.
    Raises, when it runs: ArgumentError if ``items`` turns out to be no list.
    """
    given = Items(items) if isinstance(items, Iterator) and not isinstance(items, Expression) else items
    return cast(list[R], _map(callee(function, "map_"), given))


@control("map_")
def _map(function: Any, items: Any) -> Steps:
    func = yield function
    if isinstance(items, Items):
        return (yield Drawn(called(func, item) for item in items.take()))
    return [called(func, item) for item in listed((yield items), "map_")]


def starmap(function: Callable[..., R], items: Iterable[Any]) -> list[R]:
    """The list of ``function(*item)`` for each item, or ``function(**item)`` for items that are dicts."""
    return cast(list[R], _starmap(callee(function, "starmap"), items))


@control("starmap")
def _starmap(function: Any, items: Any) -> Steps:
    func = yield function
    calls = []
    for item in listed((yield items), "starmap"):
        is_named = isinstance(item, dict)
        calls.append(called(func, **item) if is_named else called(func, *listed(item, "starmap")))
    return calls


def flat_map(function: Callable[[T], Iterable[R]], items: Iterable[T]) -> list[R]:
    """The lists that ``function`` gives for each item, as one list."""
    return flatten(map_(function, items))


def flatten(lists: Iterable[Iterable[R]]) -> list[R]:
    """The items of these lists, as one list."""
    return cast(list[R], _flatten(lists))


@control("flatten")
def _flatten(lists: Any) -> Steps:
    found = listed((yield lists), "flatten")
    return [item for one in found for item in listed(one, "flatten")]


@overload
def zip_(first: Iterable[R], second: Iterable[S], /) -> list[tuple[R, S]]: ...
@overload
def zip_(first: Iterable[R], second: Iterable[S], third: Iterable[T], /) -> list[tuple[R, S, T]]: ...
@overload
def zip_(*lists: Iterable[Any]) -> list[tuple[Any, ...]]: ...
def zip_(*lists: Any) -> Any:
    """The list of tuples of what stands at one place in these lists; as long as the shortest."""
    return _zip(list(lists))


@control("zip_")
def _zip(lists: list[Any]) -> Steps:
    return list(zip(*[listed(one, "zip_") for one in (yield lists)], strict=False))


def compose(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """The function that calls the last of these, and each one before it with what the next gave."""
    if not functions:
        raise ArgumentError("compose", "it takes at least one task or function")
    return functools.partial(_compose, [callee(one, "compose") for one in functions])


@control("compose")
def _compose(functions: list[Any], /, *args: Any, **kwargs: Any) -> Steps:
    *others, last = yield functions
    result = called(last, *args, **kwargs)
    for one in reversed(others):
        result = called(one, result)
    return result
