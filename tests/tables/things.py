"""Things: rows for tests of caches, and a source of them that can be slow, fail and be counted."""

from __future__ import annotations

from threading import Event, Lock

from valuestore.tables import Int64, Interval, String

DECLARED = {
    "key": "id",
    "codecs": {"id": Int64(), "x": Int64(), "y": Int64(), "text": String()},
    "indexes": {name: (lambda row, name=name: row[name]) for name in ("id", "x", "y")},
}
SOON = 20
"""Seconds that something takes at most which takes no time."""


def thing(number, text="", x=None):
    """Its x is its number, unless it is said, and its y the negative."""
    return {"id": number, "x": number if x is None else x, "y": -number, "text": text}


class Things:
    """A source: a dict of rows. ``asked`` says what for; ``gate`` stops it half-way while it is clear."""

    def __init__(self, *numbers):
        self.rows = {number: thing(number) for number in numbers}
        self.asked, self.fails, self.gate, self.at_gate = [], None, Event(), Event()
        self.gate.set()
        self._lock = Lock()

    def __call__(self, index, intervals):
        with self._lock:
            self.asked.append((index, [(each.ge, each.lt) for each in intervals]))
        found = [row for row in self.rows.values() if any(row[index] in each for each in intervals)]
        for place, row in enumerate(found or [None]):
            if place == len(found) // 2:
                self.at_gate.set()
                assert self.gate.wait(SOON)
                if self.fails is not None:
                    raise self.fails
            if row is not None:
                yield dict(row)

    def change(self, number, text, x=None):
        self.rows[number] = thing(number, text, x)


def ids(rows):
    return [row["id"] for row in rows]


def texts(rows):
    return [row["text"] for row in rows]


def at(*numbers):
    return [Interval.at(number) for number in numbers]
