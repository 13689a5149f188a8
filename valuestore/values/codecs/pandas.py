"""Rules for pandas: frames, series, indexes, their arrays, and the scalars that they hold.

Each is lowered to its parts: labels, and columns as arrays. Where a column keeps its values (numpy or Arrow
memory, blocks, chunks, Python or Arrow strings) does not count; its dtype does. Mixed columns are their
elements. The payload is an Arrow file where that holds the frame exactly (pandas_arrow.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from valuestore.errors import DecodeError
from valuestore.values.codecs import pandas_arrow
from valuestore.values.codecs.numpy import digest_of, only
from valuestore.values.codecs.pandas_arrow import zone_name
from valuestore.values.identity.canonical import Refused, TypeRule
from valuestore.values.preview import FIRST_ITEMS, FIRST_ROWS, first_items, table
from valuestore.values.value import Plain


def values_of(owner: Any) -> Any:
    """The array of a series or index: numpy's where pandas only wraps one."""
    array = owner.array
    return array.to_numpy() if type(array) is pd.arrays.NumpyExtensionArray else array


def _frame_identity(frame: Any) -> Plain:
    told = {
        "columns": frame.columns,
        "index": frame.index,
        "data": [values_of(series) for _, series in frame.items()],
    }
    return told | _extras(frame)


def _series_identity(series: Any) -> Plain:
    return {"name": series.name, "index": series.index, "data": values_of(series)} | _extras(series)


def _extras(owner: Any) -> dict[str, Any]:
    extras: dict[str, Any] = {"attrs": dict(owner.attrs)} if owner.attrs else {}
    return extras if owner.flags.allows_duplicate_labels else extras | {"unique_labels": True}


def _with_extras(owner: Any, state: dict[str, Any]) -> Any:
    owner.attrs.update(state.get("attrs", {}))
    return owner.set_flags(allows_duplicate_labels=False) if state.get("unique_labels") else owner


def _frame(state: Plain) -> Any:
    columns, index, arrays = state["columns"], state["index"], state["data"]
    if len(columns) != len(arrays) or any(len(array) != len(index) for array in arrays):
        raise DecodeError("pandas.DataFrame", "its columns and its labels do not fit together")
    return _with_extras(pandas_arrow.frame_of(arrays, columns, index), state)


def _series(state: Plain) -> Any:
    array, index = state["data"], state["index"]
    if len(array) != len(index):
        raise DecodeError("pandas.Series", "its values and its labels do not fit together")
    series = pd.Series(array, index=index, name=state["name"], dtype=array.dtype, copy=False)
    return _with_extras(series, state)


def _locate_column(frame: Any, path: list[str]) -> None:
    """Let ``.data[2]`` of a frame read as the column's label."""
    if len(path) >= 2 and path[-1] == ".data" and path[-2][1:-1].isdigit():
        path[-2:] = [f"[{frame.columns[int(path[-2][1:-1])]!r}]"]


def _locate_element(_series: Any, path: list[str]) -> None:
    if path and path[-1] == ".data":
        path.pop()


def _frame_summary(frame: Any) -> Plain:
    dtypes = zip(frame.columns, frame.dtypes, strict=True)
    first = frame.iloc[:FIRST_ROWS, :FIRST_ITEMS]
    return table(len(frame), dtypes, [series.tolist() for _, series in first.items()])


def _series_summary(series: Any) -> Plain:
    told = {"rows": len(series), "name": str(series.name), "dtype": str(series.dtype)}
    return told | first_items(series.iloc[:FIRST_ITEMS].tolist())


def _index_identity(index: Any) -> Plain:
    told = {"name": index.name, "data": values_of(index)}
    return told | {"freq": index.freq} if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else told


def _index(state: Plain) -> Any:
    array = state["data"]
    index = pd.Index(array, dtype=array.dtype, name=state["name"], copy=False)
    return index if state.get("freq") is None else type(index)(index, freq=state["freq"])


_FRAME_RULES = [
    TypeRule(
        pd.DataFrame,
        "pandas.DataFrame",
        only(pd.DataFrame, _frame_identity),
        _frame,
        codec=pandas_arrow.FRAME,
        locate=_locate_column,
        subclasses=True,
        summary=_frame_summary,
    ),
    TypeRule(
        pd.Series,
        "pandas.Series",
        only(pd.Series, _series_identity),
        _series,
        codec=pandas_arrow.SERIES,
        locate=_locate_element,
        subclasses=True,
        summary=_series_summary,
    ),
    *[
        TypeRule(getattr(pd, name), f"pandas.{name}", _index_identity, _index, locate=_locate_element)
        for of in ("", "Datetime", "Timedelta", "Period", "Categorical", "Interval")
        for name in [f"{of}Index"]
    ],
    TypeRule(
        pd.MultiIndex,
        "pandas.MultiIndex",
        lambda index: {
            "names": list(index.names),
            "levels": [level.rename(None) for level in index.levels],
            "codes": [np.asarray(codes) for codes in index.codes],
        },
        lambda state: pd.MultiIndex(state["levels"], state["codes"], names=state["names"]),
    ),
    TypeRule(
        pd.RangeIndex,
        "pandas.RangeIndex",
        lambda index: {"name": index.name, "start": index.start, "stop": index.stop, "step": index.step},
        lambda state: pd.RangeIndex(state["start"], state["stop"], state["step"], name=state["name"]),
    ),
]


# --- arrays -------------------------------------------------------------------------------------


def _masked_identity(array: Any) -> Plain:
    values, mask = pandas_arrow.masked_parts(array)
    return {"values": values, "mask": mask}


def _sparse(state: Plain) -> Any:
    from pandas.arrays import SparseArray

    length, values, indices = state["length"], state["values"], state["indices"]
    if len(values) != len(indices) or (len(indices) and not 0 <= indices.min() <= indices.max() < length):
        raise DecodeError("pandas.arrays.SparseArray", "its values lie outside of it")
    empty = SparseArray(np.zeros(0, values.dtype), fill_value=state["fill_value"])
    index = type(empty.sp_index.to_int_index())(length, indices)
    dtype = pd.SparseDtype(values.dtype, state["fill_value"])
    return SparseArray._simple_new(values, index, dtype)  # the constructor no longer takes an index


def _text_content(array: Any) -> Plain:
    """Whether Python or Arrow keeps it: as arrow_content.py has it of large strings.

    That is length, and digests of validity, lengths (eight bytes each) and UTF-8.
    """
    if array.dtype.storage == "pyarrow":
        import pyarrow as pa

        from valuestore.values.codecs.arrow_content import content

        column = array.__arrow_array__()
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        return content([chunk.cast(pa.large_string()) for chunk in chunks], pa.large_string())
    valid = ~np.asarray(array.isna())
    texts = [text.encode("utf-8", "surrogatepass") for text in np.asarray(array, dtype=object)[valid]]
    lengths = np.fromiter(map(len, texts), "<i8", len(texts))
    validity = None if valid.all() else digest_of(valid.view(np.uint8))
    joined = np.frombuffer(b"".join(texts), np.uint8)
    return [len(array), validity, digest_of(lengths), digest_of(joined)]


_ARRAY_RULES = [
    TypeRule(
        pd.arrays.DatetimeArray,
        "pandas.arrays.DatetimeArray",
        lambda array: {"unit": array.unit, "zone": zone_name(array.tz), "ticks": array.asi8},
        lambda state: pandas_arrow.datetimes(state["ticks"], state["unit"], state["zone"]),
    ),
    TypeRule(
        pd.arrays.TimedeltaArray,
        "pandas.arrays.TimedeltaArray",
        lambda array: {"unit": array.unit, "ticks": array.asi8},
        lambda state: pd.array(state["ticks"].view(f"m8[{state['unit']}]"), copy=False),
    ),
    TypeRule(
        pd.arrays.PeriodArray,
        "pandas.arrays.PeriodArray",
        lambda array: {"freq": array.freq, "ordinals": array.asi8},
        lambda state: pd.PeriodIndex.from_ordinals(state["ordinals"], freq=state["freq"]).array,
    ),
    TypeRule(
        pd.arrays.IntervalArray,
        "pandas.arrays.IntervalArray",
        lambda array: {
            "left": array.left.rename(None),
            "right": array.right.rename(None),
            "closed": array.closed,
        },
        lambda state: pd.arrays.IntervalArray.from_arrays(state["left"], state["right"], state["closed"]),
    ),
    TypeRule(
        pd.Categorical,
        "pandas.Categorical",
        lambda array: {
            "codes": np.asarray(array.codes),
            "categories": array.categories.rename(None),
            "ordered": bool(array.ordered),
        },
        lambda state: pd.Categorical.from_codes(
            state["codes"], dtype=pd.CategoricalDtype(state["categories"], ordered=state["ordered"])
        ),
    ),
    TypeRule(
        pd.arrays.SparseArray,
        "pandas.arrays.SparseArray",
        lambda array: {
            "length": len(array),
            "fill_value": array.fill_value,
            "values": array.sp_values,
            "indices": array.sp_index.to_int_index().indices,
        },
        _sparse,
    ),
    TypeRule(
        pd.arrays.NumpyExtensionArray,
        "pandas.arrays.NumpyExtensionArray",
        lambda array: array.to_numpy(),
        pd.arrays.NumpyExtensionArray,
    ),
    *[
        TypeRule(
            cls,
            f"pandas.arrays.{cls.__name__}",
            _masked_identity,
            lambda state: pandas_arrow.masked(state["values"], state["mask"]),
        )
        for cls in (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
    ],
    *[
        TypeRule(
            cls,
            "pandas.arrays.StringArray",
            lambda array: {"na": pandas_arrow.na_name(array.dtype), "content": _text_content(array)},
            lambda state: pd.array(state["items"], dtype=pandas_arrow.text_dtype(state["na"])),
            lambda array: {
                "na": pandas_arrow.na_name(array.dtype),
                "items": array.to_numpy(dtype=object, na_value=None).tolist(),
            },
        )
        for cls in {type(pd.array(["a"], dtype=dtype)) for dtype in pandas_arrow.text_dtypes()}
    ],
    TypeRule(
        pd.arrays.ArrowExtensionArray,
        "pandas.arrays.ArrowExtensionArray",
        lambda array: array.__arrow_array__(),
        pd.arrays.ArrowExtensionArray,
    ),
]


# --- scalars ------------------------------------------------------------------------------------


def _timestamp(state: Plain) -> Any:
    moment, zone = pd.Timestamp(state[0]), state[1]
    return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)


def _offset_identity(offset: Any) -> Plain:
    """Class, multiple, and settings; a custom business calendar is in the settings that made it."""
    settings = {name: value for name, value in offset.kwds.items() if name != "calendar"}
    name = type(offset).__name__
    if getattr(pd.offsets, name, None) is not type(offset) or name == "DateOffset":
        raise Refused(f"no rule says what identifies a {name}")
    return [name, int(offset.n), bool(offset.normalize), settings]


def _offset(state: Plain) -> Any:
    name, n, normalize, settings = state
    cls = getattr(pd.offsets, name, None)
    if not (isinstance(cls, type) and issubclass(cls, pd.offsets.BaseOffset)):
        raise DecodeError("pandas.offsets", f"no {name!r} here")
    return cls(n, **({"normalize": True} if normalize else {}), **settings)


_SCALAR_RULES = [
    TypeRule(
        pd.Timestamp,
        "pandas.Timestamp",
        lambda moment: [moment.to_datetime64(), zone_name(moment.tzinfo)],
        _timestamp,
    ),
    TypeRule(pd.Timedelta, "pandas.Timedelta", pd.Timedelta.to_timedelta64, pd.Timedelta),
    TypeRule(
        pd.Period,
        "pandas.Period",
        lambda period: [period.ordinal, period.freq],
        lambda state: pd.Period(ordinal=state[0], freq=state[1]),
    ),
    TypeRule(
        pd.Interval,
        "pandas.Interval",
        lambda interval: [interval.left, interval.right, interval.closed],
        lambda state: pd.Interval(*state),
    ),
    TypeRule(type(pd.NaT), "pandas.NaT", lambda _: None, lambda _: pd.NaT),
    TypeRule(type(pd.NA), "pandas.NA", lambda _: None, lambda _: pd.NA),
    TypeRule(pd.offsets.BaseOffset, "pandas.offsets", _offset_identity, _offset, subclasses=True),
]


_KINDS = {"ticks": "i", "ordinals": "i", "codes": "i", "indices": "i", "mask": "b"}


def _checked(rule: TypeRule) -> TypeRule:
    """The rule, but of arrays in one dimension and of kinds that it writes: pandas crashes on some others."""

    def from_state(state: Plain) -> Any:
        parts = state.items() if type(state) is dict else [("", state)]
        for name, part in parts:
            arrays = part if name in ("codes", "data") and type(part) is list else [part]
            for array in [array for array in arrays if type(array) is np.ndarray]:
                if array.ndim != 1 or array.dtype.kind not in _KINDS.get(name, array.dtype.kind):
                    raise DecodeError(rule.type_name, "its arrays are of another shape or dtype")
        return rule.from_state(state)

    return replace(rule, from_state=from_state)


RULES = [_checked(rule) for rule in (*_FRAME_RULES, *_ARRAY_RULES, *_SCALAR_RULES)]
