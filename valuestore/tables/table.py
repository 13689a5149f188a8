"""Table: rows with a primary key and ordered indexes. Batch: changes to be made at one instant.

What is the same for all tables is here; a table of your own keeps bytes, in the seven methods at the end.
``testing.TableContract`` tells if it keeps the contract.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Self

from valuestore.errors import NotFound, StoreClosed, TableError
from valuestore.tables.codecs import Codec
from valuestore.tables.interval import Interval, Intervals, checked
from valuestore.tables.schema import Encoded, Row, Schema

Where = Callable[[Row], Any]


class Asked(NamedTuple):
    """Which rows ``by`` which index, in which order; only if the epoch is that one, if any."""

    by: str
    intervals: Intervals
    reverse: bool = False
    limit: int | None = None
    epoch: str | None = None


class Drop(NamedTuple):
    """Delete the rows in the intervals of the index."""

    by: str
    intervals: Intervals


class DropRows(NamedTuple):
    """Delete the rows of these keys; those with bytes, if they are still these."""

    rows: dict[bytes, bytes]


class DropWhere(NamedTuple):
    """Delete rows that somebody looks at: it becomes a DropRows before it is applied."""

    by: str
    intervals: Intervals
    where: Callable[[Any], Any]


class DropAll(NamedTuple):
    """Delete all rows, and forget what others had for indexes."""


Step = Encoded | Drop | DropRows | DropAll
"""An Encoded is put."""


class Dropped(NamedTuple):
    """How many rows were deleted, and those, if they were asked for."""

    number: int
    rows: Sequence[bytes]


class Guard(NamedTuple):
    """On what condition steps are applied: that nothing became of what ``seen`` says.

    Together with them, what a CachedTable knows becomes ``text``, unless that is None.
    """

    field: str
    """``epoch``, which each new text changes, or ``writes``, which everything does."""
    seen: str
    text: str | None = None
    lease: str = ""
    """The lease to be held, if any."""


class Table(ABC, Generic[Row]):
    """Rows of the attributes that ``codecs`` names, by ``key`` and by the scores of ``indexes``. Thread-safe.

    ``indexes`` are functions from a row, of which they see declared attributes only, to a number. Rows are
    mappings, or objects: ``get(row, name)`` reads an attribute, ``make`` makes a row of a dict. What a row
    has beyond ``codecs`` is left out. Nothing is locked between two calls, nor while a batch is open.

    Everything raises TableError, a ValueError, for an unknown index, overlapping intervals, a missing
    attribute and a score that is NaN; CodecError, which is one; StoreClosed, and a StoreError if the server
    does not answer.
    """

    place: str = "the table"
    """What it is called, for messages."""
    _is_closed = False

    def __init__(
        self,
        *,
        key: str | tuple[str, ...],
        codecs: Mapping[str, Codec],
        indexes: Mapping[str, Callable[[Row], int | float]],
        get: Callable[[Row, str], Any] = operator.getitem,  # type: ignore[assignment]  # for mappings
        make: Callable[[dict[str, Any]], Row] = dict,  # type: ignore[assignment]  # likewise
    ) -> None:
        self.schema = Schema(key, codecs, indexes, get, make)

    def put(self, row: Row) -> None:
        """Keep the row, in the place of one with its key."""
        self.change([self.schema.encode(row)])

    def put_many(self, rows: Iterable[Row]) -> None:
        """Keep all of them at one instant, or none. Of one key, the last one counts."""
        with self.batch() as batch:
            for row in rows:
                batch.put(row)

    def get(self, key: Any) -> Row:
        """The row of that key, a tuple if the key has several attributes. Raises: NotFound."""
        self.check_open()
        if (data := self._get(self.schema.encode_key(key))) is None:
            raise NotFound(repr(key), self.place)
        return self.schema.decode(data)

    def find(
        self,
        index: str,
        *intervals: Interval,
        where: Where[Row] | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Row]:
        """Rows whose scores are in one of the intervals: by score, rows of one score by their key's bytes.

        They are as they were at the call. No interval: no row; ``Interval()``: all. ``where`` is asked about
        each; ``limit`` counts those it takes.
        """
        most = limit if where is None else None
        found = self.rows(Asked(index, self.asked(index, intervals, limit), reverse, most))
        return self.chosen(found or (), where, limit)

    def count(self, index: str, *intervals: Interval) -> int:
        """How many rows ``find`` would find."""
        return self._count(index, self.asked(index, intervals))

    def delete(self, index: str, *intervals: Interval, where: Where[Row] | None = None) -> list[Row]:
        """Delete the rows that ``find`` would find, and return them.

        With ``where``, one that is changed while it is looked at stays. Rows of another schema are not
        deleted; damaged ones are, with a CodecError.
        """
        drop = self.drop(index, intervals, where)
        dropped = self.change([drop], wants_rows=True)
        return [self.schema.decode(data) for data in dropped.rows]

    def delete_keys(self, keys: Iterable[Any]) -> int:
        """Delete the rows of these keys; how many there were."""
        dropped: Dropped = self.change([DropRows(dict.fromkeys(map(self.schema.encode_key, keys), b""))])
        return dropped.number

    @contextmanager
    def batch(self) -> Iterator[Batch[Row]]:
        """Changes that are checked as they are asked for, and made in that order, at one instant, at the end.

        None is made if the block raises. Until then nobody sees them, and others may write: the batch goes by
        what is there at its end.
        """
        self.check_open()
        batch = Batch(self)
        try:
            yield batch
        finally:
            steps = batch.end()
        if steps:
            self.change(steps)

    def reindex(self) -> None:
        """Score all rows anew, for the indexes that this table was opened with.

        What a CachedTable knows of the rows is forgotten: it has to load them again.
        """
        self.check_open()
        while True:
            writes, found = self._all()
            steps: list[Step] = [DropAll(), *(self.schema.encode(self.schema.decode(data)) for data in found)]
            if self._apply(steps, guard=Guard("writes", writes, "")) is not None:
                return

    def clear(self) -> None:
        """Delete all rows and what is kept with them; nothing of other tables."""
        self.check_open()
        self._clear()

    def close(self) -> None:
        """Release what it holds; the rows stay. Closing twice is fine."""
        self._is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for CachedTable and for batches --------------------------------------------------------------

    def check_open(self) -> None:
        """Raises: StoreClosed."""
        if self._is_closed:
            raise StoreClosed(self.place)

    def asked(self, index: str, intervals: Iterable[Interval], limit: int | None = None) -> Intervals:
        """The intervals as a set. Raises: TableError; StoreClosed."""
        self.check_open()
        if limit is not None and (type(limit) is not int or limit < 0):
            raise TableError(f"limit {limit!r}", "it is a number of rows")
        self.schema.place(index)
        return checked(intervals)

    def chosen(self, found: Iterable[bytes], where: Where[Row] | None, limit: int | None) -> Iterator[Row]:
        """The rows that ``where`` takes, at most ``limit``. Raises: CodecError."""
        left = -1 if limit is None else limit
        for data in found:
            if left == 0:
                return
            row = self.schema.decode(data)
            if where is None or where(row):
                left -= 1
                yield row

    def drop(
        self, index: str, intervals: Iterable[Interval], where: Where[Row] | None = None
    ) -> Drop | DropWhere:
        """The step that deletes these rows. Raises: TableError; StoreClosed."""
        asked = self.asked(index, intervals)
        return Drop(index, asked) if where is None else DropWhere(index, asked, where)

    def change(
        self, steps: Sequence[Step | DropWhere], *, wants_rows: bool = False, guard: Guard | None = None
    ) -> Any:
        """Apply all of them at one instant: what was Dropped; None, and none is, if the guard is against it.

        The rows of a DropWhere are looked at before; one that changes then stays.
        """
        self.check_open()
        known: list[Step] = []
        for step in steps:
            known.append(self._looked_at(step, known) if isinstance(step, DropWhere) else step)
        return self._apply(known, wants_rows=wants_rows, guard=guard)

    def _looked_at(self, drop: DropWhere, before: Sequence[Step]) -> DropRows:
        """The rows that are meant, as the steps before it leave them."""
        index, intervals, where = drop
        there = {self.schema.key_of(data): data for data in self.rows(Asked(index, intervals)) or ()}
        for step in before:
            if isinstance(step, Encoded):
                score = step.scores[self.schema.place(index)]
                there.pop(step.key, None)
                if any(score in each for each in intervals):
                    there[step.key] = step.data
            elif isinstance(step, Drop):
                rows = {key: self.schema.decode(data) for key, data in there.items()}
                scores = {key: self.schema.score(step.by, row) for key, row in rows.items()}
                gone = {key for key in there if any(scores[key] in each for each in step.intervals)}
                there = {key: data for key, data in there.items() if key not in gone}
            elif isinstance(step, DropRows):
                for key in step.rows:
                    there.pop(key, None)
        return DropRows({key: data for key, data in there.items() if where(self.schema.decode(data))})

    # --- what a table of your own has -----------------------------------------------------------------

    @abstractmethod
    def rows(self, asked: Asked) -> Sequence[bytes] | None:
        """Encoded rows in the order of ``find``; None if the epoch is not that one, or rows are lost.

        Without an epoch, that rows are lost is a StoreError.
        """

    @abstractmethod
    def known(self) -> tuple[str, str]:
        """Epoch and text that the last Guard with a text left; no text if there was none or rows are lost."""

    @abstractmethod
    def lease(self, token: str, seconds: float) -> bool:
        """Hold the table's one lease for so long, from now; whether nobody else does. 0: let go of it."""

    @abstractmethod
    def _apply(
        self, steps: Sequence[Step], *, wants_rows: bool = False, guard: Guard | None = None
    ) -> Dropped | None:
        """As ``change``."""

    @abstractmethod
    def _get(self, key: bytes) -> bytes | None:
        """The encoded row of that key."""

    @abstractmethod
    def _all(self) -> tuple[str, Sequence[bytes]]:
        """The number of writes, and all rows; whatever indexes the table was opened with before."""

    @abstractmethod
    def _clear(self) -> None:
        """As ``clear``."""

    def _count(self, index: str, intervals: Intervals) -> int:
        return len(self.rows(Asked(index, intervals)) or ())


class Batch(Generic[Row]):
    """Changes of a table that are made at its end: what ``Table.batch`` gives to its block."""

    def __init__(self, table: Table[Row]) -> None:
        self._table = table
        self._steps: list[Step | DropWhere] | None = []

    def put(self, row: Row) -> None:
        """As ``Table.put``."""
        self._add(self._table.schema.encode(row))

    def delete(self, index: str, *intervals: Interval, where: Where[Row] | None = None) -> None:
        """As ``Table.delete``; ``where`` is asked at the end."""
        self._add(self._table.drop(index, intervals, where))

    def delete_keys(self, keys: Iterable[Any]) -> None:
        """As ``Table.delete_keys``."""
        self._add(DropRows(dict.fromkeys(map(self._table.schema.encode_key, keys), b"")))

    def end(self) -> Sequence[Step | DropWhere]:
        """What there is to do; then it takes no more."""
        steps, self._steps = self._steps, None
        return steps or ()

    def _add(self, step: Step | DropWhere) -> None:
        if self._steps is None:
            raise TableError("the batch", "it has ended; begin another")
        self._steps.append(step)
