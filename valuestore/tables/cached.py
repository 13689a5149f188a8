"""CachedTable: a part of a slow source, kept in a table that any number of processes read.

What the table holds of the source, its coverage, is kept beside the rows and read with them, at one
instant. Who moves rows holds the table's lease, and what was read from the source appears all at once.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from math import inf
from typing import Generic, NamedTuple

from valuestore.errors import NotFound, StoreError, StoreUnavailable, TableError
from valuestore.lazy import PerProcess
from valuestore.observe import Event, Observer, notify, watch
from valuestore.tables.coverage import Coverage, Suspect
from valuestore.tables.interval import EVERYTHING, Interval, Intervals, common, without
from valuestore.tables.schema import Encoded, Row
from valuestore.tables.table import Asked, Drop, DropAll, Guard, Table, Where

Source = Callable[[str, Sequence[Interval]], Iterable[Row]]
_LEASE_SECONDS = 5.0
"""After so long without a sign, whoever held the lease is taken for dead."""


class Moved(NamedTuple):
    """How many rows were removed from the table, and how many were read into it."""

    expired: int
    loaded: int


class _Plan(NamedTuple):
    """What to drop, what to ask the source for, and what is covered then."""

    drops: Sequence[Drop | DropAll]
    asks: Sequence[tuple[str, Intervals]]
    by: str
    intervals: Intervals


class _Flight:
    """The refresh that the threads of this process wait for, if there is one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: Future[bool] | None = None


class CachedTable(Generic[Row]):
    """Rows of ``source(index, intervals)``, as far as they were loaded; others are read there. Thread-safe.

    A read that the table covers takes one round trip. Until something was loaded, by whatever process, reads
    wait, ``wait_seconds`` at most; what is lost after that is not covered, and read from the source at once.
    The table is the cache's alone, or its writers tell the source too. Rows of the source that lie outside of
    what it was asked for are left out.

    The source's errors pass, and leave everything as it was. Observers hear of ``table_hit``, ``table_miss``,
    ``table_refresh`` and ``table_adjust``.
    """

    def __init__(
        self,
        table: Table[Row],
        source: Source[Row],
        *,
        observers: Iterable[Observer] = (),
        wait_seconds: float = 30,
    ) -> None:
        self._table, self._source, self._observers = table, source, tuple(observers)
        self._wait_seconds = wait_seconds
        self._is_patient = True
        self._remembered: Coverage | None = None
        self._flight = PerProcess(_Flight)

    def load(self, index: str, *intervals: Interval) -> Moved:
        """Read these rows into the table, in the place of all that it held.

        Raises: TableError if something is loaded, whoever did that.
        """
        asked = self._table.asked(index, intervals)

        def plan(before: Coverage) -> _Plan:
            if before.by is not None:
                raise TableError(self._table.place, "it is loaded; adjust() changes what it covers")
            return _Plan([DropAll()], [(index, asked)], index, asked)

        return self._move(plan)

    def loaded(self, timeout_seconds: float | None = None) -> bool:
        """Whether something is loaded, within that time; None: ``wait_seconds``."""
        seconds = self._wait_seconds if timeout_seconds is None else timeout_seconds
        return _is_so_within(seconds, lambda: self._look().by is not None)

    def covers(self, index: str, *intervals: Interval) -> bool:
        """Whether the table holds all rows there, some of them suspect, perhaps."""
        return self._look().covers(index, self._table.asked(index, intervals))

    def find(
        self,
        index: str,
        *intervals: Interval,
        where: Where[Row] | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Row]:
        """As ``Table.find``; from the table, or from the source where that does not cover all of it."""
        wanted = self._table.asked(index, intervals, limit)
        asked = Asked(index, wanted, reverse, limit if where is None else None)
        found = self._covered(asked)
        operation = "table_miss" if found is None else "table_hit"
        notify(self._observers, Event(operation, index, "end", place=self._table.place))
        if found is None:
            place = self._table.schema.place(index)
            rows = self._from_source(index, asked.intervals)
            rows.sort(key=lambda row: (row.scores[place], row.key), reverse=reverse)
            found = [row.data for row in rows]
        return self._table.chosen(found, where, limit)

    def first(self, index: str, *intervals: Interval, where: Where[Row] | None = None) -> Row:
        """The first row that ``find`` finds. Raises: NotFound."""
        for row in self.find(index, *intervals, where=where, limit=1):
            return row
        raise NotFound(f"{index} in {intervals}", self._table.place)

    def invalidate(
        self,
        old: Mapping[str, Sequence[Interval]],
        new: Mapping[str, Sequence[Interval]] | None = None,
        *,
        refresh_on_read: bool = True,
    ) -> None:
        """Say that rows changed at the source, which lay in ``old``, and lie in ``new``, None: there too.

        The next read that may meet them reads them again, asking by the first index of ``old``; by an index
        that is not in both, they may lie anywhere. Without ``refresh_on_read``, they stay until ``refresh``.
        Raises: TableError if that names nothing, or what is not loaded.
        """
        named = [
            {index: self._table.asked(index, intervals) for index, intervals in each.items()}
            for each in (old, old if new is None else new)
        ]
        if not all(named) or not any(intervals for each in named for intervals in each.values()):
            raise TableError("invalidate", "it names no rows")
        suspect = Suspect.of(named[0], named[1], refresh_on_read)
        while True:
            now = self._look()
            if not all(now.covers(*pair) for each in named for pair in each.items()):
                raise TableError(self._table.place, "what was to be invalidated is not loaded")
            text = now.suspecting(suspect).text
            if self._table.change([], guard=Guard("epoch", now.epoch, text)) is not None:
                return

    def refresh(self) -> Moved:
        """Read again what was invalidated."""

        def plan(before: Coverage) -> _Plan | None:
            if before.by is None or not before.suspects:
                return None
            asks = []
            for drive in dict.fromkeys(each.drive for each in before.suspects):
                mine = [each for each in before.suspects if each.drive == drive]
                wrong = before._replace(suspects=tuple(mine)).suspected(drive)
                asks.append((drive, common(wrong, before.held(drive))))
            return _Plan([Drop(*ask) for ask in asks], asks, before.by, before.intervals)

        return self._move(plan, "table_refresh")

    def adjust(
        self, index: str, *intervals: Interval, observe: Callable[[str, Row], object] | None = None
    ) -> Moved:
        """Have the table cover these: drop what is not in them, and read what it does not hold.

        ``observe`` is told of each row, "expired" or "loaded", when that is done. Raises: TableError if
        nothing is loaded within ``wait_seconds``.
        """
        asked = self._table.asked(index, intervals)
        if self._is_patient:
            self.loaded()

        def plan(before: Coverage) -> _Plan:
            if before.by is None:
                raise TableError(self._table.place, "nothing is loaded yet; call load()")
            kept = without(common(before.held(index), asked), before.suspected(index))
            kept = tuple(each for each in kept if each.ge < inf)
            missing = without(asked, kept)
            asks = [(index, missing)] if missing else []
            return _Plan([Drop(index, without(EVERYTHING, kept))], asks, index, asked)

        return self._move(plan, "table_adjust", observe)

    # --- reading --------------------------------------------------------------------------------------

    def _look(self) -> Coverage:
        """The coverage as it is now."""
        coverage = Coverage.read(*self._table.known())
        self._remembered = None if coverage.by is None else coverage
        self._is_patient = self._is_patient and coverage.by is None
        return coverage

    def _covered(self, asked: Asked) -> Sequence[bytes] | None:
        """The rows, once the table has them; None if the source is to be asked."""
        coverage: Coverage | None = self._remembered
        is_new = False
        while True:
            if coverage is not None:
                if not coverage.covers(*asked[:2]):
                    if is_new:
                        return None
                elif coverage.is_suspect(*asked[:2]):
                    if is_new and not self._is_refreshed():
                        return None
                elif (found := self._table.rows(asked._replace(epoch=coverage.epoch))) is not None:
                    return found
            is_patient = self._is_patient  # before another thread sees what this one does not
            coverage, is_new = self._look(), True
            if coverage.by is None:
                if not (is_patient and self.loaded()):
                    self._is_patient = False
                    return None
                coverage = None

    def _is_refreshed(self) -> bool:
        """Refresh, or wait for the thread that does; False if that takes too long. Raises: as the source."""
        flight = self._flight.get()
        with flight.lock:
            joined, flight.now = flight.now, flight.now or Future()
            mine = flight.now
        if joined is not None:
            with suppress(TimeoutError):
                return joined.result(self._wait_seconds)
            return False
        is_done, failure = False, None
        try:
            self.refresh()
            is_done = True
        except _Busy:
            pass
        except Exception as error:
            failure = error
            raise
        finally:
            flight.now = None
            mine.set_exception(failure) if failure else mine.set_result(is_done)
        return is_done

    def _from_source(self, index: str, intervals: Intervals) -> list[Encoded]:
        """The source's rows there, of each key the last one."""
        place = self._table.schema.place(index)
        rows = map(self._table.schema.encode, self._source(index, intervals) if intervals else ())
        found = {row.key: row for row in rows}
        if intervals == EVERYTHING:
            return list(found.values())
        return [row for row in found.values() if any(row.scores[place] in each for each in intervals)]

    # --- moving rows ----------------------------------------------------------------------------------

    def _move(
        self,
        plan: Callable[[Coverage], _Plan | None],
        operation: str = "",
        observe: Callable[[str, Row], object] | None = None,
    ) -> Moved:
        """Do what is planned, at one instant; again, if somebody else did so meanwhile."""
        if plan(self._look()) is None:
            return Moved(0, 0)
        with self._exclusively() as token:
            while True:
                before = self._look()
                if (todo := plan(before)) is None:
                    return Moved(0, 0)
                where = operation, todo.by, self._table.place
                with watch(self._observers, *where) if operation else nullcontext():
                    moved = self._moved(todo, before, token, observe)
                if moved is not None:
                    return moved

    def _moved(
        self, todo: _Plan, before: Coverage, token: str, observe: Callable[[str, Row], object] | None
    ) -> Moved | None:
        asked = [self._from_source(*ask) for ask in todo.asks]
        rows = {row.key: row for each in asked for row in each}
        drops = (drop if isinstance(drop, DropAll) else self._table.drop(*drop) for drop in todo.drops)
        steps = [*drops, *rows.values()]
        now = before
        while now.extends(before):
            text = now.after(todo.by, todo.intervals, before).text
            guard = Guard("epoch", now.epoch, text, token)
            dropped = self._table.change(steps, wants_rows=observe is not None, guard=guard)
            if dropped is not None:
                self._look()  # it has been loaded, as far as this cache is concerned
                if observe is not None:
                    for data in dropped.rows:
                        observe("expired", self._table.schema.decode(data))
                    for row in rows.values():
                        observe("loaded", self._table.schema.decode(row.data))
                return Moved(dropped.number, len(rows))
            if not self._table.lease(token, _LEASE_SECONDS):
                raise _Busy(self._table.place, "another one took over; try again")
            now = self._look()
        return None

    @contextmanager
    def _exclusively(self) -> Iterator[str]:
        """Hold the table's lease for as long as this process lives, at most for the block."""
        token, is_done = uuid.uuid4().hex, threading.Event()

        def renew() -> None:
            while not is_done.wait(_LEASE_SECONDS / 4):
                with suppress(StoreError):
                    self._table.lease(token, _LEASE_SECONDS)

        if not _is_so_within(self._wait_seconds, lambda: self._table.lease(token, _LEASE_SECONDS)):
            raise _Busy(self._table.place, f"others moved rows for over {self._wait_seconds:g} s; try again")
        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield token
        finally:
            is_done.set()
            thread.join()
            with suppress(StoreError):
                self._table.lease(token, 0)


class _Busy(StoreUnavailable):
    """Somebody else moves rows."""


def _is_so_within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether it becomes so in that time."""
    end, pause = time.monotonic() + seconds, 0.002
    while not condition():
        if (left := end - time.monotonic()) <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, 0.1)
    return True
