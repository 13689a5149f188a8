"""The arrays, frames and images whose digests are frozen in science.json. As a script: prints them as JSON.

Run by other versions of the libraries too, which must give the same digests.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse as sp
from PIL import Image

from valuestore.values.registry import TypeRegistry

GRID = np.arange(24.0).reshape(4, 6)
ALIGNED = np.dtype([("a", "i1"), ("b", "<f8")], align=True)


def aligned() -> Any:
    array = np.zeros(3, ALIGNED)
    array["a"], array["b"] = 1, range(3)
    return array


def objects(*items: Any) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def frame() -> Any:
    return pd.DataFrame(
        {
            "numbers": np.array([1.5, np.nan, -0.0]),
            "counts": pd.array([1, None, 3], dtype="Int64"),
            "flags": pd.array([True, None, False], dtype="boolean"),
            "texts": pd.array(["a", None, "ü"], dtype="string"),
            "when": pd.DatetimeIndex(["2026-01-01", None, "2026-03-01"]).as_unit("ns"),
            "where": pd.DatetimeIndex(["2026-01-01"] * 3).as_unit("us").tz_localize("Europe/Paris"),
            "kind": pd.Categorical.from_codes(
                [0, -1, 1], categories=pd.Index(["x", "y"], dtype=object), ordered=True
            ),
            "arrow": pd.array([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
            "mixed": pd.Series(["a", 1, None], dtype=object),
        },
        columns=pd.Index(
            ["numbers", "counts", "flags", "texts", "when", "where", "kind", "arrow", "mixed"], dtype=object
        ),
    )


def labels() -> Any:
    return pd.MultiIndex.from_arrays(
        [np.array([1, 1, 2]), np.array([0.5, 1.5, 0.5])], names=["number", "half"]
    )


CASES: dict[str, Callable[[], Any]] = {
    "array": lambda: GRID,
    "array of one": lambda: np.array(5.0),
    "array empty": lambda: np.zeros((0, 3)),
    "array big-endian": lambda: GRID.astype(">f8"),
    "array float32": lambda: GRID.astype("<f4"),
    "array float16": lambda: GRID.astype("<f2"),
    "array int8": lambda: GRID.astype("i1"),
    "array bool": lambda: GRID > 3,
    "array complex": lambda: GRID * 1j,
    "array datetime": lambda: np.array(["2026-01-01", "NaT"], "<M8[s]"),
    "array timedelta": lambda: np.array([1, 2], "<m8[D]"),
    "array bytes": lambda: np.array([b"a", b"bc"]),
    "array text": lambda: np.array(["a", "ü"]),
    "array void": lambda: np.array([b"abc"], "V3"),
    "array structured": aligned,
    "array records": lambda: np.rec.array([(1, 2.0)], dtype=[("a", "<i8"), ("b", "<f8")]),
    "array objects": lambda: objects(1, "a", None, {"k": (1, 2)}),
    "array with -0.0": lambda: np.array([-0.0]),
    "array with 0.0": lambda: np.array([0.0]),
    "matrix": lambda: np.matrix([[1.0, 2.0]]),
    "masked": lambda: np.ma.array([1.0, 2.0], mask=[True, False]),
    "masked nothing": lambda: np.ma.array([1.0, 2.0]),
    "scalar float64": lambda: np.float64(1.0),
    "scalar float32": lambda: np.float32(1.0),
    "scalar int64": lambda: np.int64(1),
    "scalar uint8": lambda: np.uint8(1),
    "scalar bool": lambda: np.bool_(True),
    "scalar text": lambda: np.str_("1"),
    "scalar bytes": lambda: np.bytes_(b"1"),
    "scalar datetime": lambda: np.datetime64("2026-01-01", "s"),
    "scalar complex": lambda: np.complex128(1j),
    "scalar nan": lambda: np.float64("nan"),
    "dtype": lambda: np.dtype("<f8"),
    "dtype structured": lambda: ALIGNED,
    "generator": lambda: np.random.default_rng(7),
    "generator legacy": lambda: np.random.RandomState(7),
    "bits": lambda: np.random.Philox(7),
    "array in containers": lambda: {"a": [GRID, (GRID[0],)]},
    "frame": frame,
    "frame without rows": lambda: frame().iloc[:0],
    "frame of numbers": lambda: pd.DataFrame(GRID),
    "frame labelled": lambda: pd.DataFrame({0: [1.0, 2.0, 3.0]}, index=labels()),
    "frame with attrs": lambda: _with_attrs(pd.DataFrame(GRID)),
    "series": lambda: pd.Series([1.0, 2.0], name=3),
    "index": lambda: pd.Index(np.array([3, 1], "<i8"), name=5),
    "range index": lambda: pd.RangeIndex(0, 10, 2),
    "datetime index": lambda: pd.date_range("2026-01-01", periods=3, freq="D").as_unit("ns"),
    "interval index": lambda: pd.IntervalIndex.from_breaks(np.array([0.0, 1.0, 2.0])),
    "period index": lambda: pd.period_range("2026-01", periods=3, freq="M"),
    "sparse": lambda: pd.arrays.SparseArray([0.0, 1.0, 0.0]),
    "timestamp": lambda: pd.Timestamp("2026-01-01", tz="Europe/Paris").as_unit("us"),
    "timedelta": lambda: pd.Timedelta("1s").as_unit("ns"),
    "period": lambda: pd.Period("2026-01", "M"),
    "interval": lambda: pd.Interval(0, 1),
    "not a time": lambda: pd.NaT,
    "not available": lambda: pd.NA,
    "offset": lambda: pd.offsets.Week(2, weekday=1),
    "polars": lambda: pl.DataFrame(
        {
            "i": pl.Series([1, None], dtype=pl.Int16),
            "s": ["a", None],
            "l": [[1.5], []],
            "d": [dt.date(2026, 1, 1), None],
            "e": pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"])),
            "c": pl.Series(["b", "a"], dtype=pl.Categorical),
        }
    ),
    "polars series": lambda: pl.Series("x", [1.0, None]),
    "arrow table": lambda: pa.table({"i": pa.array([1, None], pa.int8()), "s": ["a", None]}),
    "arrow batch": lambda: pa.record_batch({"i": pa.array([1, None], pa.int8())}),
    "arrow ints": lambda: pa.array([1, None, 3], pa.int32()),
    "arrow texts": lambda: pa.array(["a", None, ""]),
    "arrow large texts": lambda: pa.array(["a", None, ""], pa.large_string()),
    "arrow bools": lambda: pa.array([True, None, False]),
    "arrow lists": lambda: pa.array([[1], None, []], pa.list_(pa.int8())),
    "arrow structs": lambda: pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])),
    "arrow map": lambda: pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
    "arrow dictionary": lambda: pa.array(["a", "b", None]).dictionary_encode(),
    "arrow times": lambda: pa.array([1, None], pa.timestamp("us", "UTC")),
    "arrow chunks": lambda: pa.chunked_array([[1], [2, None]], pa.int8()),
    "arrow scalar": lambda: pa.scalar(1, pa.int8()),
    "arrow schema": lambda: pa.schema([pa.field("a", pa.int8(), nullable=False)], {"k": "v"}),
    "arrow field": lambda: pa.field("a", pa.int8()),
    "arrow type": lambda: pa.decimal128(10, 2),
    "csr": lambda: sp.csr_matrix(GRID),
    "csr array": lambda: sp.csr_array(GRID),
    "csc": lambda: sp.csc_array(GRID),
    "coo": lambda: sp.coo_array(GRID),
    "dia": lambda: sp.dia_array(np.eye(3)),
    "bsr": lambda: sp.bsr_array(GRID, blocksize=(2, 2)),
    "lil": lambda: sp.lil_array(GRID),
    "dok": lambda: sp.dok_array(GRID),
    "image": lambda: Image.fromarray(GRID.astype("u1")),
    "image in color": lambda: Image.new("RGB", (3, 2), (1, 2, 3)),
    "image with a palette": lambda: _with_palette(Image.new("P", (3, 2))),
}


def _with_attrs(owner: Any) -> Any:
    owner.attrs["unit"] = "m"
    return owner


def _with_palette(image: Any) -> Any:
    image.putpalette([1, 2, 3] * 256)
    return image


def digests() -> dict[str, str]:
    registry = TypeRegistry()
    return {name: registry.hash(case()) for name, case in CASES.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump(digests(), sys.stdout, indent=1)
