"""Arrow files of pandas objects: frames and series whose columns Arrow holds exactly, values shared.

The schema's metadata say under ``valuestore.pandas`` what the columns have to become again; other tools see
a table of the same columns. What does not fit (mixed columns, several levels of labels, sparse columns,
attrs) is stored by state instead. Needs pyarrow; without it nothing fits.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.identity.canonical import Codec, Refused
from valuestore.values.trust.kinds import is_zone_name

try:
    import pyarrow as pa

    from valuestore.values.codecs import ipc
except ModuleNotFoundError:  # pandas works without it
    pa = None

_META = b"valuestore.pandas"
_INDEX = "__index__"
_MASKED = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
_NUMBERS = {f"<{kind}{size}" for kind in "iuf" for size in (2, 4, 8)} | {"|i1", "|u1", "|b1"}


class _Unfit(Exception):
    """Arrow does not hold this exactly."""


# --- to Arrow -----------------------------------------------------------------------------------


def _frame_table(frame: Any) -> Any:
    labels, index = _labels(frame.columns), _index_to_arrow(frame.index)
    columns = [_to_arrow(series.array) for _, series in frame.items()]
    names = [str(label) for label in frame.columns]
    return _table(columns, names, index, {"columns": labels})


def _series_table(series: Any) -> Any:
    index = _index_to_arrow(series.index)
    return _table([_to_arrow(series.array)], ["values"], index, {"name": _name(series.name)})


def _table(columns: list[Any], names: list[str], index: Any, told: dict[str, Any]) -> Any:
    told |= {"data": [spec for _, spec in columns], "index": index[1]}
    arrays = [array for array, _ in columns]
    if index[0] is not None:
        arrays, names = [*arrays, index[0]], [*names, _INDEX]
    metadata = {_META: json.dumps(told).encode()}
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    if not arrays:
        raise _Unfit
    return pa.table(arrays, schema=pa.schema(fields, metadata))


def _labels(columns: Any) -> Any:
    if isinstance(columns, pd.RangeIndex):
        return {"range": [columns.start, columns.stop, columns.step], "name": _name(columns.name)}
    labels = columns.tolist() if type(columns) is pd.Index else None
    if not labels or {type(label) for label in labels} != {str} or len(labels) > 10_000:
        raise _Unfit
    "".join(labels).encode()
    is_text = isinstance(columns.dtype, pd.StringDtype)
    if not is_text and columns.dtype != object:
        raise _Unfit
    dtype = na_name(columns.dtype) if is_text else "object"
    return {"labels": labels, "dtype": dtype, "name": _name(columns.name)}


def _name(name: Any) -> Any:
    if name is None or type(name) in (str, int):
        return name
    raise _Unfit


def _index_to_arrow(index: Any) -> tuple[Any, Any]:
    if isinstance(index, pd.RangeIndex):
        return None, _labels(index)
    if type(index) is not pd.Index and (type(index) is not pd.DatetimeIndex or index.freq is not None):
        raise _Unfit
    array, spec = _to_arrow(index.array)
    return array, {"data": spec, "name": _name(index.name)}


def _to_arrow(array: Any) -> tuple[Any, Any]:
    """The column as an Arrow array, and what it has to become again. Raises: _Unfit."""
    if type(array) is pd.arrays.NumpyExtensionArray:  # whose subclass holds strings
        return _numpy_to_arrow(array.to_numpy())
    if isinstance(array, pd.arrays.DatetimeArray):
        unit, zone = array.unit, zone_name(array.tz)
        column = _fixed(pa.timestamp(unit, zone), array.asi8, np.asarray(array.isna()))
        return column, ["datetime", unit, zone]
    if isinstance(array, pd.arrays.TimedeltaArray):
        column = _fixed(pa.duration(array.unit), array.asi8, np.asarray(array.isna()))
        return column, ["timedelta", array.unit]
    if isinstance(array, _MASKED):
        values, mask = masked_parts(array)
        return _masked_to_arrow(values, mask), ["masked", values.dtype.str]
    if isinstance(array, pd.Categorical):
        return _categories_to_arrow(array)
    if isinstance(array.dtype, pd.StringDtype):
        if array.dtype.storage == "pyarrow":
            column = array.__arrow_array__()
        else:
            column = pa.array(array.to_numpy(dtype=object, na_value=None), pa.large_string())
        return column, ["text", na_name(array.dtype)]
    if isinstance(array.dtype, pd.ArrowDtype):
        return array.__arrow_array__(), ["arrow"]
    raise _Unfit


def _numpy_to_arrow(values: Any) -> tuple[Any, Any]:
    if values.dtype.str in _NUMBERS:
        return pa.array(np.ascontiguousarray(values), from_pandas=False), ["numpy", values.dtype.str]
    if values.dtype == object:
        items = values.tolist()
        if {type(item) for item in items} <= {str, type(None)}:
            return pa.array(items, pa.large_string()), ["objects"]
    raise _Unfit


def _fixed(of: Any, values: Any, missing: Any) -> Any:
    """An Arrow array over these values; what is missing keeps its value below the null."""
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    return pa.Array.from_buffers(of, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def _masked_to_arrow(values: Any, mask: Any) -> Any:
    if values.dtype == bool:
        return pa.array(values, mask=mask) if mask is not None else pa.array(values)
    of = pa.from_numpy_dtype(values.dtype)
    return _fixed(of, values, mask if mask is not None else np.zeros(len(values), bool))


def _categories_to_arrow(array: Any) -> tuple[Any, Any]:
    categories = array.categories
    if type(categories) is not pd.Index or categories.name is not None or not isinstance(array.ordered, bool):
        raise _Unfit
    words, spec = _to_arrow(categories.array)
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    codes = np.asarray(array.codes)
    indices = _fixed(pa.from_numpy_dtype(codes.dtype), codes, codes < 0)
    column = pa.DictionaryArray.from_arrays(indices, words, ordered=array.ordered)
    return column, ["category", array.ordered, spec]


# --- and back -----------------------------------------------------------------------------------


def _decode_frame(data: Bytes) -> Any:
    table, told = _open(data, {"columns", "data", "index"})
    arrays, index = _columns(table, told, data)
    return frame_of(arrays, _labels_back(told["columns"]), index)


def _decode_series(data: Bytes) -> Any:
    table, told = _open(data, {"name", "data", "index"})
    (array,), index = _columns(table, told, data)
    return pd.Series(array, index=index, name=told["name"], dtype=array.dtype, copy=False)


def _open(data: Bytes, keys: set[str]) -> tuple[Any, dict[str, Any]]:
    table = ipc.decode(data)
    told = json.loads((table.schema.metadata or {}).get(_META, b"null"))
    if not isinstance(told, dict) or told.keys() != keys:
        raise DecodeError("pandas", "the Arrow file does not say which pandas object it is")
    if table.num_rows > 8 * len(data):
        raise DecodeError("pandas", f"{table.num_rows} rows in {len(data)} bytes")
    return table, told


def _columns(table: Any, told: dict[str, Any], data: Bytes) -> tuple[list[Any], Any]:
    of_index = told["index"]
    count = table.num_columns - ("range" not in of_index)
    specs = told["data"]
    if len(specs) != count:
        raise DecodeError("pandas", f"{len(specs)} columns are described, {count} are there")
    arrays = [_back(table.column(position), spec, data) for position, spec in enumerate(specs)]
    if "range" in of_index:
        return arrays, _labels_back(of_index)
    values = _back(table.column(count), of_index["data"], data)
    return arrays, pd.Index(values, dtype=values.dtype, name=of_index["name"], copy=False)


def _labels_back(told: dict[str, Any]) -> Any:
    if "range" in told:
        return pd.RangeIndex(*told["range"], name=told["name"])
    dtype = object if told["dtype"] == "object" else text_dtype(told["dtype"])
    return pd.Index(told["labels"], dtype=dtype, name=told["name"])


def _values(column: Any, dtype: Any, data: Bytes) -> Any:
    """The values of a column of fixed width, whatever its nulls are: as they lie in ``data``."""
    arrays = [_part(chunk, np.dtype(dtype), data) for chunk in column.chunks]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype)


def _part(chunk: Any, dtype: Any, data: Bytes) -> Any:
    if chunk.type.bit_width != 8 * dtype.itemsize:
        raise DecodeError("pandas", f"a column of {chunk.type} is no {dtype}")
    buffer = chunk.buffers()[1]
    offset = buffer.address - pa.py_buffer(data).address + chunk.offset * dtype.itemsize
    if len(chunk) and not 0 <= offset <= len(data) - len(chunk) * dtype.itemsize:
        return np.frombuffer(buffer, dtype, len(chunk), chunk.offset * dtype.itemsize).copy()
    return np.frombuffer(data, dtype, len(chunk), offset) if len(chunk) else np.empty(0, dtype)


def _back(column: Any, spec: Any, data: Bytes) -> Any:
    """The array that ``_to_arrow`` was given."""
    match spec:
        case ["numpy", "|b1"]:
            return _booleans(column)
        case ["numpy", str(dtype)] if dtype in _NUMBERS:
            return _values(column, dtype, data)
        case ["objects"] if pa.types.is_large_string(column.type):
            items = column.to_pylist()
            array = np.empty(len(items), object)
            array[:] = items
            return array
        case ["datetime", str(unit), None | str() as zone]:
            return datetimes(_values(column, "<i8", data), unit, zone)
        case ["timedelta", str(unit)]:
            return pd.array(_values(column, "<i8", data).view(f"m8[{unit}]"), copy=False)
        case ["masked", str(dtype)] if dtype in _NUMBERS:
            values = _booleans(column) if dtype == "|b1" else _values(column, dtype, data)
            return masked(values, ~_booleans(column.is_valid()) if column.null_count else None)
        case ["text", str(na)]:
            return text_dtype(na).__from_arrow__(column)
        case ["arrow"]:
            return pd.arrays.ArrowExtensionArray(column)
        case ["category", bool(ordered), of]:
            return _categories_back(column, ordered, of, data)
    raise DecodeError("pandas", f"no column is a {str(spec)[:60]} here")


def _booleans(column: Any) -> Any:
    values = column.fill_null(False).cast(pa.uint8())
    return np.concatenate([np.empty(0, np.uint8), *(chunk.to_numpy() for chunk in values.chunks)]).view(bool)


def _categories_back(column: Any, ordered: bool, spec: Any, data: Bytes) -> Any:
    whole = column.unify_dictionaries().combine_chunks()
    array = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    words = _back(pa.chunked_array([array.dictionary]), spec, data)
    categories = pd.Index(words, dtype=words.dtype, copy=False)
    codes = array.indices.fill_null(-1).to_numpy()
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, ordered=ordered))


def _codec(table_of: Callable[[Any], Any], decode: Callable[[Bytes], Any]) -> Codec:
    def fits(owner: Any) -> bool:
        if pa is None or owner.attrs or not owner.flags.allows_duplicate_labels:
            return False
        try:
            table_of(owner)
        except (_Unfit, Refused, pa.ArrowException, UnicodeEncodeError):
            return False
        return True

    return Codec("arrow", lambda owner: ipc.encode(table_of(owner)), decode, fits)


FRAME = _codec(_frame_table, _decode_frame)
SERIES = _codec(_series_table, _decode_series)


def frame_of(arrays: list[Any], columns: Any, index: Any) -> Any:
    """The frame over these arrays, their dtypes kept: pandas would make strings of objects."""
    data = {
        position: pd.Series(array, index=index, dtype=object) if array.dtype == object else array
        for position, array in enumerate(arrays)
    }
    frame = pd.DataFrame(data, index=index, copy=False)
    frame.columns = columns
    return frame


# --- parts of pandas arrays -----------------------------------------------------------------------


def zone_name(zone: Any) -> str | None:
    """The name of a time zone, whichever package it is from. Raises: Refused if it has none."""
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is not None:
        return str(name)
    if isinstance(zone, datetime.timezone) or type(zone).__module__.partition(".")[0] == "pytz":
        minutes, rest = divmod(int(zone.utcoffset(None).total_seconds()), 60)
        if not rest:
            sign, (hours, left) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
            return f"{sign}{hours:02}:{left:02}" if minutes else "UTC"
    raise Refused(f"the time zone {zone!r} has no name; use a zoneinfo.ZoneInfo")


def datetimes(ticks: Any, unit: str, zone: str | None) -> Any:
    """A datetime array over these ticks since 1970, UTC."""
    if not is_zone_name(zone):
        raise DecodeError("pandas", f"no time zone has the name {zone!r:.60}")
    values = ticks.view(f"M8[{unit}]")
    if zone is None:
        return pd.array(values, copy=False)
    return pd.DatetimeIndex(values, copy=False).tz_localize("UTC").tz_convert(zone).array


def masked_parts(array: Any) -> tuple[Any, Any]:
    """Values, zero where they are missing, and which are; None if none is."""
    mask = np.asarray(array.isna())
    dtype = array.dtype.numpy_dtype
    if not mask.any():
        return array.to_numpy(dtype=dtype, copy=False), None
    return array.to_numpy(dtype=dtype, na_value=dtype.type(0)), mask


def masked(values: Any, mask: Any) -> Any:
    cls = {"b": _MASKED[2], "f": _MASKED[1]}.get(values.dtype.kind, _MASKED[0])
    return cls(values, mask if mask is not None else np.zeros(len(values), bool), copy=False)


def na_name(dtype: Any) -> str:
    """Which missing value a string dtype has."""
    return "NA" if getattr(dtype, "na_value", pd.NA) is pd.NA else "nan"


def text_dtype(na: str) -> Any:
    """The string dtype with that missing value, stored as pandas does it here."""
    if na not in ("NA", "nan"):
        raise DecodeError("pandas.StringDtype", f"no missing value {na!r}")
    return pd.StringDtype() if na == "NA" else pd.StringDtype(na_value=np.nan)


def text_dtypes() -> list[Any]:
    storages = ["python"] if pa is None else ["python", "pyarrow"]
    found = [pd.StringDtype(storage) for storage in storages]
    with suppress(TypeError):  # before pandas 2.3
        found += [pd.StringDtype(storage, na_value=np.nan) for storage in storages]
    return found
