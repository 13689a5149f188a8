"""Dtypes as plain data: what an array's elements are, in words that no numpy version changes.

A simple dtype is its array-protocol string, byte order included (``<f8``, ``|b1``, ``<M8[ns]``); structured
ones are their fields with names, offsets and titles. ``long double`` is named for its format, since that
differs between machines. Called by the array rules (numpy.py) and the ``.npy`` codec.
"""

from __future__ import annotations

import math
import re
from types import MappingProxyType
from typing import Any

import numpy as np

from valuestore.errors import DecodeError
from valuestore.values.identity.canonical import Refused
from valuestore.values.value import Plain

_SIMPLE = re.compile(r"[<>|][biufcSUVmMO]\d*(\[\w+(/\d+)?\])?")
_LONG = {63: "x87", 112: "quad", 105: "double-double"}
_SUM_OF_LONG = {"x87": 10}
_FLOAT64_BYTES = 8
LONG_FORMAT = _LONG.get(int(np.finfo(np.longdouble).nmant), "double")
"""The format of this machine's ``long double``; ``double`` where it is no other type than float64."""


def describe(dtype: Any) -> Plain:
    """The dtype as plain data. Raises: Refused for user-defined ones."""
    if dtype.kind == "T":
        described: dict[str, Any] = {"string": bool(dtype.coerce)}
        return described | ({"na": dtype.na_object} if hasattr(dtype, "na_object") else {})
    if dtype.isbuiltin == 2 or dtype.type.__module__ != "numpy" or not _is_known(dtype):
        raise Refused(f"no rule says what a {dtype} is; convert the array to a dtype of numpy's own")
    if dtype.metadata:
        return {"of": _describe(dtype), "metadata": _described(dtype.metadata)}
    return _describe(dtype)


def _describe(dtype: Any) -> Plain:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": describe(base), "shape": list(shape)}
    if dtype.names is None:
        return f"{dtype.str}/{LONG_FORMAT}" if is_long(dtype) else dtype.str
    fields = []
    for name in dtype.names:
        of, offset, *title = dtype.fields[name]
        if is_long(of):
            raise Refused(f"field {name!r} is a long double, whose bytes differ between machines")
        fields.append([name, describe(of), offset, *title])
    described = {"fields": fields, "itemsize": dtype.itemsize}
    return described | {"record": True} if dtype.type is np.record else described


def _described(metadata: Any) -> Plain:
    return dict(metadata) if isinstance(metadata, MappingProxyType | dict) else metadata


def _is_known(dtype: Any) -> bool:
    return dtype.subdtype is not None or dtype.names is not None or dtype.kind in "biufcSUVmMO"


def dtype_of(described: Plain) -> Any:
    """The dtype that was described. Raises: DecodeError."""
    if type(described) is str:
        return _simple(described)
    if "string" in described:
        settings = {"na_object": described["na"]} if "na" in described else {}
        return np.dtypes.StringDType(coerce=described["string"], **settings)
    if "metadata" in described:
        return np.dtype(dtype_of(described["of"]), metadata=described["metadata"])
    if "base" in described:
        return np.dtype((dtype_of(described["base"]), tuple(described["shape"])))
    fields = described["fields"]
    layout: Any = {
        "names": [field[0] for field in fields],
        "formats": [dtype_of(field[1]) for field in fields],
        "offsets": [field[2] for field in fields],
        "titles": [field[3] if len(field) > 3 else None for field in fields],
        "itemsize": described["itemsize"],
    }
    dtype = np.dtype(layout)
    return np.dtype((np.record, dtype)) if described.get("record") else dtype


def _simple(text: str) -> Any:
    text, _, long_format = text.partition("/") if "[" not in text else (text, "", "")
    if long_format and long_format != LONG_FORMAT:
        raise DecodeError("numpy.dtype", f"its long double is {long_format}, here it is {LONG_FORMAT}")
    if not _SIMPLE.fullmatch(text):
        raise DecodeError("numpy.dtype", f"{text!r} is none")
    return np.dtype(text)


def is_long(dtype: Any) -> bool:
    """Whether it is ``long double``, real or complex, where that is a type of its own."""
    if dtype.kind not in "fc":
        return False
    return bool(dtype.itemsize > _FLOAT64_BYTES * (1 + (dtype.kind == "c")))


def long_bytes(dtype: Any) -> tuple[int, int]:
    """Of each number in a long double: the bytes that say something, and all of them."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return _SUM_OF_LONG.get(LONG_FORMAT, width), width


def packed(dtype: Any) -> Any:
    """The structured dtype without the bytes between its fields, which nobody has set."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((packed(base), shape))
    if dtype.names is None:
        return dtype
    return np.dtype([(name, packed(dtype.fields[name][0])) for name in dtype.names])


def has_gaps(dtype: Any) -> bool:
    """Whether elements have bytes that belong to no field, or to several."""
    if dtype.subdtype is not None:
        return has_gaps(dtype.subdtype[0])
    if dtype.names is None:
        return False
    ends = [0]
    for _, (of, offset, *_title) in sorted(
        ((name, dtype.fields[name]) for name in dtype.names), key=lambda item: item[1][1]
    ):
        if offset != ends[-1] or has_gaps(of):
            return True
        ends.append(offset + of.itemsize)
    return bool(ends[-1] != dtype.itemsize)


def count(shape: Any) -> int:
    """How many elements an array of that shape has. Raises: DecodeError if it is no shape."""
    if not all(type(length) is int and length >= 0 for length in shape):
        raise DecodeError("numpy.ndarray", f"its shape is {shape!r}")
    return math.prod(shape)
