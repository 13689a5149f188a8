"""Rules for polars: data frames and series, by logical content; lazy frames are refused.

The content is that of the Arrow arrays that polars gives (pyarrow is needed), in Arrow's oldest layout, with
categories as the texts that they stand for: their numbers depend on what a process has met before. The
payload is an Arrow file, as polars and others read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.preview import FIRST_ITEMS, FIRST_ROWS, first_items, table
from valuestore.values.value import Plain

try:
    import pyarrow as pa

    from valuestore.values.codecs import ipc
    from valuestore.values.codecs.arrow import column_content
except ModuleNotFoundError:
    pa = None

_META = b"valuestore.polars"
_LAYOUT = pl.CompatLevel.oldest()
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Datetime": ("time_unit", "time_zone"),
    "Duration": ("time_unit",),
    "Decimal": ("precision", "scale"),
}
_PLAIN = {"Boolean", "String", "Binary", "Date", "Time", "Null", "Float32", "Float64", "Categorical"}
_PLAIN |= {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}


def _describe(dtype: Any) -> Plain:
    """The dtype as JSON. Raises: Refused."""
    name = dtype.base_type().__name__
    if name in _PLAIN:
        return name
    if name in _PARAMETERS:
        return [name, *[getattr(dtype, parameter) for parameter in _PARAMETERS[name]]]
    if name == "Enum":
        return [name, dtype.categories.to_list()]
    if name == "List":
        return [name, _describe(dtype.inner)]
    if name == "Array":
        return [name, _describe(dtype.inner), dtype.size]
    if name == "Struct":
        return [name, [[field.name, _describe(field.dtype)] for field in dtype.fields]]
    raise Refused(f"no rule says what identifies polars data of type {dtype}")


def _dtype(described: Plain) -> Any:
    match described:
        case str(name) if name in _PLAIN:
            return getattr(pl, name)()
        case [str(name), *parameters] if name in _PARAMETERS:
            return getattr(pl, name)(*parameters)
        case ["Enum", list(categories)]:
            return pl.Enum(categories)
        case ["List", inner]:
            return pl.List(_dtype(inner))
        case ["Array", inner, int(size)]:
            return pl.Array(_dtype(inner), size)
        case ["Struct", list(fields)]:
            return pl.Struct({name: _dtype(inner) for name, inner in fields})
    raise DecodeError("polars", f"no dtype is {str(described)[:60]} here")


def _written(described: Plain) -> Plain:
    """The dtype that is hashed and stored in its place: text instead of categories."""
    match described:
        case "Categorical" | ["Enum", _]:
            return "String"
        case ["List" | "Array" as name, inner, *size]:
            return [name, _written(inner), *size]
        case ["Struct", fields]:
            return ["Struct", [[name, _written(inner)] for name, inner in fields]]
    return described


def _to_arrow(series: Any) -> Any:
    if pa is None:
        raise Refused("polars data is read through pyarrow, which is not installed")
    described = _describe(series.dtype)
    written = _written(described)
    return (series if written == described else series.cast(_dtype(written))).to_arrow(compat_level=_LAYOUT)


def _content(series: Any) -> Plain:
    return {"dtype": _describe(series.dtype), "content": column_content(_to_arrow(series))}


def _frame_identity(frame: Any) -> Plain:
    columns = []
    for series in frame.get_columns():
        try:
            columns.append([series.name, _content(series)])
        except Refused as refusal:
            refusal.parts.append(f"[{series.name!r}]")
            raise
    return {"rows": frame.height, "columns": columns}


def _encode(frame: Any) -> list[Bytes]:
    columns = frame.get_columns()
    arrays = [_to_arrow(series) for series in columns]
    dtypes = [_describe(series.dtype) for series in columns]
    fields = [pa.field(series.name, array.type) for series, array in zip(columns, arrays, strict=True)]
    return ipc.encode(pa.table(arrays, schema=pa.schema(fields, {_META: json.dumps(dtypes).encode()})))


def _decode(data: Bytes) -> Any:
    if pa is None:
        raise DecodeError("polars.DataFrame", "it is read through pyarrow, which is not installed")
    table = ipc.decode(data)
    dtypes = json.loads((table.schema.metadata or {}).get(_META, b"null"))
    if not isinstance(dtypes, list) or len(dtypes) != table.num_columns:
        raise DecodeError("polars.DataFrame", "the Arrow file does not say which dtypes its columns have")
    if table.num_rows > 8 * len(data):
        raise DecodeError("polars.DataFrame", f"{table.num_rows} rows in {len(data)} bytes")
    columns = {  # by name: in a list, one without a name is given one
        field.name: _series(field.name, column, _dtype(described))
        for field, column, described in zip(table.schema, table.columns, dtypes, strict=True)
    }
    return pl.DataFrame(columns)


def _series(name: str, column: Any, dtype: Any) -> Any:
    # through a table: from an array alone, polars before 1.44 misreads lists of texts, or crashes
    series = pl.DataFrame(pa.table({name: column})).to_series().alias(name)
    return series if series.dtype == dtype else series.cast(dtype)


def _unreadable(_state: Plain) -> Any:
    raise DecodeError("polars.DataFrame", "stored without its content")


def _refuse_lazy(_frame: Any) -> Plain:
    raise Refused("a LazyFrame is a plan and has no content yet; pass what .collect() gives")


def _exactly(cls: type, identity: Callable[[Any], Plain]) -> Callable[[Any], Plain]:
    """That identity, but subclasses are refused: a pickle does not have what they add."""

    def narrowed(obj: Any) -> Plain:
        if type(obj) is not cls:
            raise Refused(f"what a {type(obj).__qualname__} adds is not known; register a TypeRule for it")
        return identity(obj)

    return narrowed


def _first(series: Any, most: int) -> list[Any]:
    """The first items; of lists and structures, which may be long, the type."""
    head = series.head(most)
    return [str(series.dtype)] * len(head) if series.dtype.is_nested() else head.to_list()


RULES = [
    TypeRule(
        pl.DataFrame,
        "polars.DataFrame",
        _exactly(pl.DataFrame, _frame_identity),
        _unreadable,
        codec=Codec("arrow", _encode, _decode, lambda frame: bool(frame.width or not frame.height)),
        subclasses=True,
        summary=lambda frame: table(
            frame.height,
            frame.schema.items(),
            [_first(series, FIRST_ROWS) for series in frame[:, :FIRST_ITEMS].get_columns()],
        ),
    ),
    TypeRule(
        pl.Series,
        "polars.Series",
        _exactly(pl.Series, lambda series: {"name": series.name} | _content(series)),
        _unreadable,
        codec=Codec(
            "arrow", lambda series: _encode(series.to_frame()), lambda data: _decode(data).to_series(0)
        ),
        subclasses=True,
        summary=lambda series: {
            "rows": len(series),
            "name": series.name,
            "dtype": str(series.dtype),
            **first_items(_first(series, FIRST_ITEMS)),
        },
    ),
    TypeRule(pl.LazyFrame, "polars.LazyFrame", _refuse_lazy, _unreadable),
]
