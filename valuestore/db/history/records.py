"""Records: what a question to the history gives, one frozen class for each kind. Times are aware, in UTC.

They hold what rows say. No value is loaded to make one: ``preview`` is text that was kept beside it.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from valuestore.html import Shown

if TYPE_CHECKING:
    import polars
    import pyarrow
    from _typeshed import SupportsWrite

R = TypeVar("R")

DEPTH = 20
"""How many calls deep lineage goes, unless somebody says so."""

ROWS = 1000
"""How many steps of it are given at once."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(microseconds: int | None) -> Any:
    """A time of the database as an aware datetime; None for NULL. Exact: no float in between.

    A damaged one, beyond the years that there are, is the last of them, and what is no number the first: it
    must not hide other records.
    """
    if microseconds is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return (datetime.max if microseconds > 0 else datetime.min).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)


def microseconds(when: datetime) -> int:
    """An aware datetime as the database has it."""
    return (when - _EPOCH) // timedelta(microseconds=1)


class _Recorded(Shown):
    """What every record has."""

    __slots__ = ()

    @property
    def record_id(self) -> str:
        """What finds it: the first of its fields."""
        return str(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]  # each is a dataclass


@dataclass(frozen=True, slots=True)
class ExecutionRecord(_Recorded):
    """One top-level run. ``status`` is running, done, failed, interrupted, or crashed: no sign of life.

    ``executed``, ``cached`` and ``failed`` count its ``jobs``; ``cached`` includes ``replayed``: calls below
    cached ones, which were answered with these and are no jobs of it.
    """

    kind: ClassVar[str] = "execution"
    execution_id: str
    label: str
    status: str
    started: datetime
    ended: datetime | None
    seconds: float | None
    command: str | None
    jobs: int
    executed: int
    cached: int
    failed: int
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class JobRecord(_Recorded):
    """One attempt to run a call. ``status`` is done (its body ran), cached or failed.

    It stands for ``calls`` calls: with those below it, if it was replayed as a whole (``calls_made``).
    """

    kind: ClassVar[str] = "job"
    job_id: str
    execution_id: str
    parent_id: str | None
    task: str
    status: str
    started: datetime
    seconds: float
    result_type: str | None
    result: str | None
    error: str | None
    call_hash: str | None
    task_hash: str
    args_hash: str | None
    value_hash: str | None
    calls: int = 1


@dataclass(frozen=True, slots=True)
class CallRecord(_Recorded):
    """A finished call: which task, with which arguments, gave what."""

    kind: ClassVar[str] = "call"
    call_hash: str
    task: str
    result_type: str | None
    result: str | None
    replayable: bool
    task_hash: str
    args_hash: str
    value_hash: str


@dataclass(frozen=True, slots=True)
class TaskRecord(_Recorded):
    """A version of a task."""

    kind: ClassVar[str] = "task"
    task_hash: str
    task: str
    version: str | None
    source: str


@dataclass(frozen=True, slots=True)
class TaskCount(_Recorded):
    """All ``jobs`` of a task, in all its versions and executions; ``seconds`` is the time in its bodies."""

    kind: ClassVar[str] = "task count"
    task: str
    jobs: int
    executed: int
    cached: int
    failed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ValueRecord(_Recorded):
    """A value: its type, its size in bytes, and a short JSON text of it. ``path``: if it is a file."""

    kind: ClassVar[str] = "value"
    value_hash: str
    type_name: str
    codec: str
    size: int
    is_inline: bool
    payload_digest: str | None
    preview: str
    path: str | None


@dataclass(frozen=True, slots=True)
class FileRecord(_Recorded):
    """A file, folder or set of files as it was once: each content it had is a record of its own."""

    kind: ClassVar[str] = "file"
    path: str
    file_kind: str
    value_hash: str
    preview: str | None

    @property
    def record_id(self) -> str:
        """The hash of the value that stands for it."""
        return self.value_hash


@dataclass(frozen=True, slots=True)
class TagRecord(_Recorded):
    """A tag: on which record, what, and who set it when; ``ended`` is None while it is current."""

    kind: ClassVar[str] = "tag"
    tag_id: str
    entity: str
    entity_id: str
    key: str
    value: Any
    author: str | None
    created: datetime
    ended: datetime | None
    ended_by: str | None


Record = ExecutionRecord | JobRecord | CallRecord | TaskRecord | ValueRecord | FileRecord | TagRecord


@dataclass(frozen=True)
class Page(Generic[R]):
    """Some records, and the ``cursor`` that the next page starts at; None exactly when there are no more."""

    records: list[R]
    cursor: str | None


def write_cursor(facts: list[Any]) -> str:
    """A place in a list, as text: what the list is, and where in it."""
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")


def reader(record_type: type[R]) -> Callable[[Any], R]:
    """What makes records of rows whose columns are named as the record's fields; others are left out."""
    columns: Any = fields(record_type)  # type: ignore[arg-type]  # each is a dataclass
    places = [(each.name, _OF_COLUMN.get(each.type, _as_it_is)) for each in columns]
    return lambda row: record_type(*[read(getattr(row, name)) for name, read in places])


def records_of(record_type: type[R], table: tuple[Sequence[str], Iterable[Any]]) -> list[R]:
    """The records in a driver's table."""
    read, (names, rows) = reader(record_type), table
    return [read(SimpleNamespace(**dict(zip(names, row, strict=True)))) for row in rows]


def _as_it_is(value: Any) -> Any:
    return value


def _seconds(microseconds: int | None) -> float | None:
    return microseconds / 1e6 if isinstance(microseconds, int) else None


def json_in(text: str) -> Any:
    """What the text says; a damaged one is itself: it must not hide other records."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text


_OF_COLUMN: dict[str, Callable[[Any], Any]] = {
    "str": lambda text: text or "",  # of a row that is gone
    "int": lambda number: number or 0,
    "bool": bool,
    "float": _seconds,
    "float | None": _seconds,
    "datetime": moment,
    "datetime | None": moment,
    "Any": json_in,
}
"""What becomes of a column, by the type of the field. Lengths of time are in microseconds there."""


# --- Export: records as Arrow tables, frames and CSV; each library is loaded when it is asked for.


def to_arrow(record_type: type, records: Iterable[Any]) -> pyarrow.Table:
    """An Arrow table with a column for each field, typed also where there are no records."""
    import pyarrow as pa

    types = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
    }
    columns = _columns(record_type)
    rows = [_cells(columns, record) for record in records]
    arrays = [
        pa.array([row[number] for row in rows], type=types.get(kind, pa.string()))
        for number, kind in enumerate(columns.values())
    ]
    return pa.table(arrays, names=list(columns))


def to_polars(record_type: type, records: Iterable[Any]) -> polars.DataFrame:
    """A data frame of polars."""
    import polars as pl

    frame = pl.from_arrow(to_arrow(record_type, records))
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_csv(
    record_type: type, records: Iterable[Any], target: str | os.PathLike[str] | SupportsWrite[str]
) -> int:
    """CSV with a header; times in ISO 8601, None empty. Returns the number of records.

    Cells are exact: a text that begins with ``=`` stays so, and a spreadsheet may take it for a formula.
    """
    if isinstance(target, str | os.PathLike):
        with open(target, "w", encoding="utf-8", newline="") as file:
            return to_csv(record_type, records, file)
    writer, columns, count = csv.writer(target), _columns(record_type), 0
    writer.writerow(columns)
    for record in records:
        writer.writerow(map(_plain, _cells(columns, record)))
        count += 1
    return count


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON-able data: times in ISO 8601."""
    return {each.name: _plain(getattr(record, each.name)) for each in fields(record)}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _columns(record_type: type) -> dict[str, Any]:
    """Field names with their types, None apart; what is neither text nor number is JSON."""
    hints = typing.get_type_hints(record_type)
    return {each.name: _not_none(hints[each.name]) for each in fields(record_type)}


def _not_none(hint: Any) -> Any:
    if isinstance(hint, UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else Any
    return hint


def _cells(columns: dict[str, Any], record: Any) -> list[Any]:
    values = [getattr(record, name) for name in columns]
    kinds = zip(values, columns.values(), strict=True)
    return [json.dumps(value) if kind is Any else value for value, kind in kinds]
