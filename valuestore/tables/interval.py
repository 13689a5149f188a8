"""Interval: a range of scores, and sets of them.

A set is a tuple of intervals that do not overlap, in order, none of them empty; ``merged`` makes one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Self

from valuestore.errors import TableError

Intervals = tuple["Interval", ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """Scores from ``ge``, which is in it, to ``lt``, which is not; only infinity is, in one that ends there.

    Integers are exact at any size. Raises: TableError for a bound that is NaN or no number, and for ge > lt.
    """

    ge: float = -inf
    lt: float = inf

    def __post_init__(self) -> None:
        ends: tuple[object, ...] = (self.ge, self.lt)
        if not (all(isinstance(end, int | float) for end in ends) and self.ge <= self.lt):
            raise TableError(f"interval [{self.ge!r}, {self.lt!r})", "it goes from a number to one not below")

    @classmethod
    def at(cls, value: float) -> Self:
        """Exactly that score; for an integer n, [n, n + 1)."""
        if isinstance(value, int) or value == sys.float_info.max:  # whose next one is infinity
            return cls(value, int(value) + 1)
        return cls(value, math.nextafter(value, inf))

    def __contains__(self, score: float) -> bool:
        return self.ge <= score and (score < self.lt or self.lt == inf)

    @property
    def is_empty(self) -> bool:
        """Whether no score is in it."""
        return self.ge == self.lt != inf

    def intersects(self, other: Interval) -> bool:
        """Whether a score is in both."""
        return max(self.ge, other.ge) < min(self.lt, other.lt) or self.lt == other.lt == inf

    def covers(self, other: Interval) -> bool:
        """Whether each score of the other is in it."""
        return other.is_empty or (self.ge <= other.ge and other.lt <= self.lt)


EVERYTHING: Intervals = (Interval(),)


def checked(intervals: Iterable[Interval]) -> Intervals:
    """Them as a set. Raises: TableError if they overlap, and for what is no interval."""
    found = list(intervals)
    for each in found:
        if not isinstance(each, Interval):
            raise TableError(f"{each!r}", "it is no Interval")
    ordered = sorted((each for each in found if not each.is_empty), key=lambda each: each.ge)
    for one, other in pairwise(ordered):
        if one.intersects(other):
            raise TableError(f"intervals {one} and {other}", "they overlap; give each score once")
    return tuple(ordered)


def merged(intervals: Iterable[Interval]) -> Intervals:
    """All scores of any of them, as a set."""
    joined: list[Interval] = []
    for each in sorted((each for each in intervals if not each.is_empty), key=lambda each: each.ge):
        if joined and each.ge <= joined[-1].lt:
            joined[-1] = Interval(joined[-1].ge, max(joined[-1].lt, each.lt))
        else:
            joined.append(each)
    return tuple(joined)


def common(one: Iterable[Interval], other: Intervals) -> Intervals:
    """The scores that both have."""
    return merged(Interval(max(a.ge, b.ge), min(a.lt, b.lt)) for a in one for b in other if a.intersects(b))


def without(one: Iterable[Interval], other: Iterable[Interval]) -> Intervals:
    """The scores of the first that the second does not have.

    There is no interval up to infinity that lacks that alone: where it is taken out, so is the largest float.
    """
    left = merged(one)
    for taken in merged(other):
        left = tuple(part for each in left for part in _cut(each, taken))
    return left


def are_covered(intervals: Iterable[Interval], by: Intervals) -> bool:
    """Whether the set has each score of the intervals."""
    return all(any(one.covers(each) for one in by) for each in intervals)


def _cut(one: Interval, taken: Interval) -> Iterator[Interval]:
    if not one.intersects(taken):
        yield one
        return
    if one.ge < taken.ge:
        yield Interval(one.ge, max(one.ge, min(taken.ge, sys.float_info.max)))
    if taken.lt < one.lt:
        yield Interval(taken.lt, one.lt)
