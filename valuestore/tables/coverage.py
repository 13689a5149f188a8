"""Coverage: which rows of its source a table holds, and which of these are suspect, as text beside the rows.

All who use the table share it. It has another epoch after each change.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from valuestore.tables.interval import EVERYTHING, Interval, Intervals, are_covered, merged

_MOST_SUSPECTS = 100


class Suspect(NamedTuple):
    """Rows that may have changed at the source: all that lie ``within`` these intervals, by each index.

    By an index that is not there, they may lie anywhere. ``drive`` is the index to ask the source by;
    ``on_read`` is whether a read waits for that.
    """

    number: str
    drive: str
    within: Mapping[str, Intervals]
    on_read: bool

    @classmethod
    def of(cls, old: Mapping[str, Intervals], new: Mapping[str, Intervals], on_read: bool) -> Suspect:
        """Rows that lay there before the change, and do now."""
        within = {index: merged((*old[index], *new[index])) for index in old if index in new}
        return cls(uuid.uuid4().hex, next(iter(old)), within, on_read)


class Coverage(NamedTuple):
    """The scores ``by`` an index that were loaded, a set; None if nothing was."""

    epoch: str
    by: str | None = None
    intervals: Intervals = ()
    suspects: tuple[Suspect, ...] = ()

    @classmethod
    def read(cls, epoch: str, text: str) -> Coverage:
        """What ``text`` was made of."""
        if not text:
            return cls(epoch)
        index, intervals, suspects = json.loads(text)
        found = (
            Suspect(number, drive, {name: _set(each) for name, each in within.items()}, on_read)
            for number, drive, within, on_read in suspects
        )
        return cls(epoch, index, _set(intervals), tuple(found))

    @property
    def text(self) -> str:
        """All but the epoch."""
        suspects = [
            (number, drive, {name: _pairs(each) for name, each in within.items()}, on_read)
            for number, drive, within, on_read in self.suspects
        ]
        return json.dumps((self.by, _pairs(self.intervals), suspects))

    def held(self, index: str) -> Intervals:
        """The scores of that index whose rows are all there."""
        return self.intervals if index == self.by or self.intervals == EVERYTHING else ()

    def covers(self, index: str, intervals: Intervals) -> bool:
        """Whether all rows there were loaded."""
        return self.by is not None and are_covered(intervals, self.held(index))

    def suspected(self, index: str) -> Intervals:
        """Where rows may be wrong."""
        return merged(each for one in self.suspects for each in one.within.get(index, EVERYTHING))

    def is_suspect(self, index: str, intervals: Intervals) -> bool:
        """Whether a read there has to wait."""
        found = [each for one in self.suspects if one.on_read for each in one.within.get(index, EVERYTHING)]
        return any(one.intersects(other) for one in found for other in intervals)

    def suspecting(self, suspect: Suspect) -> Coverage:
        """With that one more; of very many, everything is suspect."""
        found = (*self.suspects, suspect)
        if len(found) > _MOST_SUSPECTS:
            on_read = any(each.on_read for each in found)
            found = (Suspect(suspect.number, self.by or suspect.drive, {}, on_read),)
        return self._replace(suspects=found)

    def extends(self, before: Coverage) -> bool:
        """Whether nothing but more suspects came since."""
        known = all(each in self.suspects for each in before.suspects)
        return known and (self.by, self.intervals) == (before.by, before.intervals)

    def after(self, index: str, intervals: Intervals, before: Coverage) -> Coverage:
        """What it is when these are loaded, and the suspects of ``before`` dealt with."""
        left = (each._replace(drive=index) for each in self.suspects if each not in before.suspects)
        return Coverage(self.epoch, index, merged(intervals), tuple(left))


def _pairs(intervals: Iterable[Interval]) -> list[tuple[float, float]]:
    return [(each.ge, each.lt) for each in intervals]


def _set(pairs: Iterable[tuple[float, float]]) -> Intervals:
    return tuple(Interval(*pair) for pair in pairs)
