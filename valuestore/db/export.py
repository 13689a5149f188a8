"""Export: records as Arrow tables, frames and CSV; each library is loaded when it is asked for."""

from __future__ import annotations

import csv
import json
import os
import typing
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import polars
    import pyarrow


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


class Writable(Protocol):
    """What text can be written to."""

    def write(self, text: str, /) -> object:
        """Write it."""


def to_csv(record_type: type, records: Iterable[Any], target: str | os.PathLike[str] | Writable) -> int:
    """CSV with a header; times in ISO 8601, None empty. Returns the number of records.

    Cells are exact: a text that begins with ``=`` stays so, and a spreadsheet may take it for a formula.
    """
    if isinstance(target, str | os.PathLike):
        with open(target, "w", encoding="utf-8", newline="") as file:
            return _write_csv(record_type, records, file)
    return _write_csv(record_type, records, target)


def plain(record: Any) -> dict[str, Any]:
    """A record as JSON-able data: times in ISO 8601."""
    return {
        each.name: value.isoformat() if isinstance(value := getattr(record, each.name), datetime) else value
        for each in fields(record)
    }


def _write_csv(record_type: type, records: Iterable[Any], file: Writable) -> int:
    writer = csv.writer(file)
    columns = _columns(record_type)
    writer.writerow(columns)
    count = 0
    for record in records:
        writer.writerow(
            cell.isoformat() if isinstance(cell, datetime) else cell for cell in _cells(columns, record)
        )
        count += 1
    return count


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
    return list(_each_cell(columns, record))


def _each_cell(columns: dict[str, Any], record: Any) -> Iterator[Any]:
    for name, kind in columns.items():
        value = getattr(record, name)
        yield json.dumps(value) if kind is Any else value
