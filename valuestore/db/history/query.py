"""Query: a lazy question about one kind of record, made of filters, an order and a limit.

Immutable: each method gives another query, and nothing is asked before records are wanted. Every page is
one statement, or two where filters name tasks. The filters are in jobs.py, executions.py and things.py.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TextIO, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    and_,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.sql import visitors

from valuestore import html
from valuestore.db.engine.database import Database
from valuestore.db.history import records
from valuestore.db.history.conditions import Condition
from valuestore.db.history.records import Page, write_cursor
from valuestore.db.record.rows import clean_text
from valuestore.errors import AmbiguousId, QueryError, RecordNotFound

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from valuestore.values.registry import TypeRegistry

R = TypeVar("R")

PAGE_RECORDS = 100
_ITERATED_AT_ONCE = 500
MOST_COUNTED = 10_000
"""A notebook is told no larger numbers: counting takes as long as there are records."""
MOST_RECORDS = 1_000_000
"""Records of one page at most: more are iterated, page by page."""


@dataclass(frozen=True)
class Order:
    """What records are sorted by, last their id, so that every record has its place."""

    by: tuple[ColumnElement[Any], ...]
    descending: bool
    indexed: ColumnElement[Any] | None = None
    """Sorts alike and has an index of its own: the ids are found with it, and looked up then."""


def columns_named(table: FromClause, names: str) -> dict[str, ColumnElement[Any]]:
    """Columns that the fields of a record are called by."""
    return {name: table.c[name] for name in names.split()}


@dataclass(frozen=True)
class Shape(Generic[R]):
    """What a kind of record is selected from, and what becomes of a row."""

    record_type: type[R]
    columns: Mapping[str, ColumnElement[Any]]
    """By the field of the record; what else the page needs may be among them."""
    source: FromClause
    key: ColumnElement[Any]
    orders: Mapping[str, Order]
    finish: Callable[[Select[Any], bool], Select[Any]] = field(default=lambda page, _descending: page)
    """Adds to a page what is only looked up for the records on it."""

    @cached_property
    def statement(self) -> Select[Any]:
        """All records, in no order."""
        named = [column.label(name) for name, column in self.columns.items()]
        return select(*named).select_from(self.source)


class Deferred(Protocol):
    """A filter that is resolved when the question is asked."""

    def alternatives(self, connection: Connection, query: Query[Any]) -> list[Condition]:
        """Conditions of which records meet exactly one; each is answered by an index in order of the ids."""


@dataclass(frozen=True)
class Context:
    """What queries are asked of: the database, and the registry that hashes the values they are given."""

    database: Database
    registry: TypeRegistry | None = None
    before: Callable[[], object] = lambda: None


class Query(Generic[R]):
    """Records of one kind. ``where`` of each kind lists its filters."""

    kind: ClassVar[str]
    shape: ClassVar[Shape[Any]]

    def __init__(self, context: Context) -> None:
        self._context = context
        self._conditions: tuple[Condition, ...] = ()
        self._deferred: tuple[Deferred, ...] = ()
        self._order = next(iter(self.shape.orders))
        self._limit: int | None = None

    # --- refining -----------------------------------------------------------------------------

    def order(self, name: str) -> Self:
        """Another order: one of ``orders()``."""
        if name not in self.shape.orders:
            raise QueryError("order", f"expected one of {', '.join(self.orders())}, not {name!r}"[:300])
        return self._with(_order=name)

    @classmethod
    def orders(cls) -> tuple[str, ...]:
        """The orders there are, the default one first."""
        return tuple(cls.shape.orders)

    def limit(self, records: int) -> Self:
        """At most so many records. Filters stay as they are."""
        return self._with(_limit=positive("limit", records))

    def _filtered(self, filters: Mapping[str, Any]) -> Self:
        found = self
        for name, given in filters.items():
            make: Callable[[Any], Condition | Deferred] | None = getattr(self, f"_where_{name}", None)
            if make is None:
                known = ", ".join(each[7:] for each in sorted(dir(self)) if each.startswith("_where_"))
                raise QueryError(f"{self.kind}s have no filter {name!r}", f"there are {known}")
            if given is None and name not in ("result", "argument", "value"):
                continue  # a filter that is not set
            condition = make(given)
            if isinstance(condition, ColumnElement):
                found = found._with(_conditions=(*found._conditions, condition))
            else:
                found = found._with(_deferred=(*found._deferred, condition))
        return found

    def _with(self, **changed: Any) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changed)
        return other

    # --- asking -------------------------------------------------------------------------------

    def page(self, cursor: str | None = None, size: int | None = None) -> Page[R]:
        """The records after ``cursor``, which an earlier page gave: at most ``size`` (default: the limit).

        Stable under inserts: the cursor is the last record's place in the order.
        """
        wanted = positive("size", size if size is not None else self._limit or PAGE_RECORDS)
        after = None if cursor is None else self._read_cursor(cursor)
        self._context.before()
        with self._context.database.read() as connection:
            rows = self._rows(connection, wanted + 1, after)
        more = len(rows) > wanted
        rows = rows[:wanted]
        found = list(map(records.reader(self.shape.record_type), rows))
        return Page(found, self._make_cursor(rows[-1]) if more else None)

    def __iter__(self) -> Iterator[R]:
        left, cursor = self._limit, None
        while left is None or left > 0:
            size = _ITERATED_AT_ONCE if left is None else min(left, _ITERATED_AT_ONCE)
            page = self.page(cursor, size)
            yield from page.records
            if page.cursor is None:
                return
            cursor, left = page.cursor, None if left is None else left - size

    def all(self) -> list[R]:
        """Every record, up to the limit if there is one."""
        return list(self)

    def dicts(self) -> list[dict[str, Any]]:
        """Every record as JSON-able data, by field."""
        return [records.plain(record) for record in self]

    def first(self) -> R | None:
        """The first record in the order, or None."""
        return next(iter(self.limit(1)), None)

    def one(self) -> R:
        """The only record. Raises: RecordNotFound; AmbiguousId if there are more."""
        records: list[Any] = self.limit(2).all()
        if not records:
            raise RecordNotFound("this query", self.kind)
        if len(records) > 1:
            raise AmbiguousId("this query", tuple(f"{self.kind} {each.record_id}" for each in records))
        return records[0]  # type: ignore[no-any-return]  # they are R

    def count(self) -> int:
        """How many records there are, up to the limit if there is one. Loads none."""
        self._context.before()
        with self._context.database.read() as connection:
            alternatives = self._alternatives(connection)
            conditions = [*self._conditions, *([or_(*alternatives)] if alternatives else ())]
            counted = self._ids(conditions)
            if self._limit is not None:
                counted = counted.limit(self._limit)
            return int(connection.scalar(select(func.count()).select_from(counted.subquery())) or 0)

    def __repr__(self) -> str:
        filters = len(self._conditions) + len(self._deferred)
        most = "" if self._limit is None else f", at most {self._limit:,}"
        return f"<query of {self.kind}s: {filters} filters, {self._order} first{most}; .all() asks it>"

    def _repr_html_(self) -> str:
        """The first records as a table; of more than so many, that there are more."""
        names = html.columns_of(self.shape.record_type)
        found = self.page(size=min(self._limit or html.MOST_ROWS, html.MOST_ROWS)).records
        count = self.limit(min(self._limit or MOST_COUNTED, MOST_COUNTED)).count()
        more = "or more " if count == MOST_COUNTED != self._limit else ""
        rows = ([getattr(record, name) for name in names] for record in found)
        return html.table(names, rows, f"{len(found):,} of {count:,} {more}{self.kind}s")

    # --- exporting ----------------------------------------------------------------------------

    def to_arrow(self) -> pyarrow.Table:
        """An Arrow table with a column for each field. Needs pyarrow."""
        return records.to_arrow(self.shape.record_type, self)

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame of pandas. Needs pandas and pyarrow."""
        return records.to_arrow(self.shape.record_type, self).to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """A data frame of polars. Needs polars and pyarrow."""
        return records.to_polars(self.shape.record_type, self)

    def to_csv(self, target: str | os.PathLike[str] | TextIO) -> int:
        """CSV (RFC 4180) into a file, by its path or open for text. Returns the number of records."""
        return records.to_csv(self.shape.record_type, self, target)

    # --- statements ---------------------------------------------------------------------------

    def _rows(self, connection: Connection, most: int, after: list[Any] | None) -> Sequence[Any]:
        """The rows of a page."""
        return connection.execute(self._statement(connection, most, after)).all()

    def _statement(self, connection: Connection, most: int, after: list[Any] | None) -> Select[Any]:
        order = self.shape.orders[self._order]
        columns = (*order.by, self.shape.key)
        sorted_by = columns if order.indexed is None else (order.indexed, self.shape.key)
        directed = [column.desc() if order.descending else column for column in sorted_by]
        conditions = list(self._conditions)
        if after is not None:
            conditions.append(_beyond(columns, after, descending=order.descending))
        alternatives = self._alternatives(connection)
        if order.indexed is not None or len(alternatives) > 1:
            conditions = [self._any_of(alternatives or [true()], conditions, directed, most)]
        else:
            conditions += alternatives
        places = [column.label(f"place_{number}") for number, column in enumerate(columns)]
        page = self.shape.statement.add_columns(*places).where(*conditions).order_by(*directed).limit(most)
        return self.shape.finish(page, order.descending)

    def _any_of(
        self, alternatives: list[Condition], conditions: list[Condition], directed: list[Any], most: int
    ) -> Condition:
        """The first of each alternative, each found in order by its index, are enough for a page."""
        branches = []
        for alternative in alternatives:
            branch = self._ids([*conditions, alternative])
            limited = branch.order_by(*directed).limit(most).subquery()
            branches.append(select(limited.c.id))
        return self.shape.key.in_(union_all(*branches))

    def _ids(self, conditions: list[Condition]) -> Select[Any]:
        """The ids of the records; from their own table alone, unless a condition is about another."""
        own = self.shape.key.table
        asked = (each for condition in conditions for each in visitors.iterate(condition))
        is_own = all(each.table is own for each in asked if isinstance(each, Column))
        ids = select(self.shape.key.label("id")).where(*conditions)
        return ids.select_from(own if is_own else self.shape.source)

    def _alternatives(self, connection: Connection) -> list[Condition]:
        """What deferred filters come to: several alternatives from at most one of them."""
        found: list[Condition] = []
        for deferred in self._deferred:
            more = deferred.alternatives(connection, self)
            found = more if not found else [and_(or_(*found), or_(*more))]
        return found

    # --- cursors ------------------------------------------------------------------------------

    def _make_cursor(self, row: Any) -> str:
        order = self.shape.orders[self._order]
        places = [getattr(row, f"place_{number}") for number in range(len(order.by) + 1)]
        return write_cursor([self.kind, self._order, *places])

    def _read_cursor(self, cursor: str) -> list[Any]:
        kind, order, *places = read_cursor(cursor, 2, "page")
        right = len(self.shape.orders[self._order].by) + 1
        if kind != self.kind or order != self._order or len(places) != right:
            raise QueryError("cursor", "it belongs to another query, or to another order")
        columns = (*self.shape.orders[self._order].by, self.shape.key)
        if not all(map(_is_place, columns, places)):
            raise QueryError("cursor", "it is not one that a page gave")
        return places


def read_cursor(cursor: str, least: int, giver: str) -> list[Any]:
    """The facts that a cursor holds, of any JSON kind: ``least`` or more. Raises: QueryError."""
    try:
        facts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (TypeError, ValueError, binascii.Error, RecursionError):
        facts = None
    if not isinstance(facts, list) or len(facts) < least:
        raise QueryError("cursor", f"it is not one that a {giver} gave")
    return facts


def _beyond(columns: tuple[Any, ...], places: list[Any], *, descending: bool) -> Condition:
    """Rows after these places: compared column by column, as the order does."""
    beyond: Condition | None = None
    for column, place in zip(reversed(columns), reversed(places), strict=True):
        past = column < place if descending else column > place
        beyond = past if beyond is None else or_(past, and_(column == place, beyond))
    assert beyond is not None
    return beyond


def _is_place(column: ColumnElement[Any], place: object) -> bool:
    """Whether a place in a cursor is one that the column can have."""
    if isinstance(column.type, String):
        return isinstance(place, str) and place == clean_text(place, len(place))
    return type(place) is int and abs(place) < 1 << 63


def positive(name: str, number: object, most: int = MOST_RECORDS) -> int:
    """The number. Raises: QueryError if it is none, or not from 1 to ``most``."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= most:
        raise QueryError(name, f"expected an int from 1 to {most:,}, not {str(number)[:40]}")
    return number
