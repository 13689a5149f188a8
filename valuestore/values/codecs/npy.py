"""The ``.npy`` format: one array, a short text header and its elements. Any tool that has numpy reads it.

Written and read by hand, so that bytes do not depend on numpy's version, views are not copied, and a forged
header cannot ask for more memory than there are bytes. Always in C order. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.identity.canonical import Refused
from valuestore.values.value import Plain

_MAGIC = b"\x93NUMPY"
_ALIGN = 64
_LONGEST_HEADER = 10_000
"""numpy itself reads no longer ones unless told to (``max_header_size``)."""

_BLOCK_BYTES = 4 << 20


def fits(array: Any) -> bool:
    """Whether numpy reads the array back from its ``.npy`` form just as it was."""
    dtype = array.dtype
    if dtype.hasobject or dtype.kind == "T" or is_long(dtype) or dtype.itemsize == 0:
        return False
    if dtype.names is None:
        return dtype.subdtype is None and not dtype.metadata
    if _has_metadata(dtype):
        return False
    try:
        descr = np.lib.format.dtype_to_descr(dtype)
        again = np.lib.format.descr_to_dtype(ast.literal_eval(repr(descr)))
    except (ValueError, TypeError, SyntaxError):
        return False
    return bool(again == dtype and again.itemsize == dtype.itemsize and len(_header(array)) < _LONGEST_HEADER)


def _has_metadata(dtype: Any) -> bool:
    if dtype.subdtype is not None:
        return _has_metadata(dtype.subdtype[0])
    fields = dtype.fields or {}
    return bool(dtype.metadata) or any(_has_metadata(fields[name][0]) for name in dtype.names or ())


def encode(array: Any) -> Iterator[Bytes]:
    """Header and elements; these are the array's own memory if it lies in C order."""
    yield _header(array)
    if array.size:
        if has_gaps(array.dtype):  # whose bytes are to be zero
            clean = np.zeros(array.shape, array.dtype)
            _copy_fields(array, clean)
            array = clean
        yield raw(np.ascontiguousarray(array))


def _header(array: Any) -> bytes:
    descr = np.lib.format.dtype_to_descr(array.dtype)
    shape = tuple(int(length) for length in array.shape)
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    try:
        version, encoded = 1, text.encode("latin1")
    except UnicodeEncodeError:
        version, encoded = 3, text.encode("utf-8")
    start = len(_MAGIC) + 2 + (2 if version == 1 else 4)
    encoded += b" " * (-(start + len(encoded) + 1) % _ALIGN) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(encoded))
    return _MAGIC + bytes((version, 0)) + length + encoded


def _copy_fields(source: Any, target: Any) -> None:
    for name in source.dtype.names:
        if source[name].dtype.names is None:
            target[name] = source[name]
        else:
            _copy_fields(source[name], target[name])


def decode(data: Bytes) -> Any:
    """The array, as a view of ``data``. Raises: DecodeError."""
    view = memoryview(data).cast("B") if data else memoryview(b"")
    dtype, order, shape, start = _read_header(view)
    if dtype.hasobject or dtype.itemsize == 0:
        raise DecodeError("npy", f"elements of {dtype} are not read")
    if count(shape) * dtype.itemsize != len(view) - start:
        raise DecodeError("npy", f"{len(view) - start} bytes are no array of {shape} {dtype}")
    return np.ndarray(shape, dtype, buffer=data, offset=start, order=order)


def _read_header(view: memoryview) -> tuple[Any, Any, tuple[int, ...], int]:
    if bytes(view[:6]) != _MAGIC or len(view) < 12:
        raise DecodeError("npy", "it is no .npy file")
    version = view[6]
    if version not in (1, 2, 3):
        raise DecodeError("npy", f"version {version} of the format is not known here")
    start = 10 if version == 1 else 12
    length = struct.unpack("<H" if version == 1 else "<I", view[8:start])[0]
    if length > min(_LONGEST_HEADER, len(view) - start):
        raise DecodeError("npy", f"a header of {length} bytes")
    text = bytes(view[start : start + length]).decode("utf-8" if version == 3 else "latin1")
    header = ast.literal_eval(text)
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise DecodeError("npy", "its header says something else than dtype, order and shape")
    dtype = np.lib.format.descr_to_dtype(header["descr"])
    order = "F" if header["fortran_order"] is True else "C"
    shape = header["shape"]
    if not isinstance(shape, tuple):
        raise DecodeError("npy", f"its shape is {shape!r}")
    return dtype, order, shape, start + length


def elements(array: Any) -> Iterator[memoryview]:
    """What the elements say, in C order, in pieces that are gone when the next one is asked for.

    One view of all of it where the memory is just that; else copies of a few MiB. Bytes between the fields
    of a structure, or beyond the end of a long double, are left out.
    """
    if array.size == 0:
        return
    if has_gaps(array.dtype):
        tight = packed(array.dtype)
        yield from (raw(block.astype(tight)) for block in _blocks(array))
    elif is_long(array.dtype):
        told, width = long_bytes(array.dtype)
        for block in _blocks(array):
            numbers = np.frombuffer(raw(block), np.uint8).reshape(-1, width)
            yield raw(np.ascontiguousarray(numbers[:, :told]))
    elif array.flags.c_contiguous:
        yield raw(array)
    else:
        yield from map(raw, _blocks(array))


def _blocks(array: Any) -> Iterator[Any]:
    """The elements in C order, a few MiB at a time, each block in one dimension and without holes."""
    if array.ndim == 0 or array.nbytes <= _BLOCK_BYTES:
        yield np.ascontiguousarray(array).reshape(-1)
        return
    length = max(1, _BLOCK_BYTES // max(1, array[0].nbytes))
    for start in range(0, len(array), length):
        part = array[start : start + length]
        if len(part) == 1 and part.ndim > 1:
            yield from _blocks(part[0])
        else:
            yield np.ascontiguousarray(part).reshape(-1)


def raw(array: Any) -> memoryview:
    """The bytes of an array in C order that has some."""
    return memoryview(array.reshape(-1).view(np.uint8))


# --- Dtypes as plain data: what an array's elements are, in words that no numpy version changes.
#
# A simple dtype is its array-protocol string, byte order included (``<f8``, ``|b1``, ``<M8[ns]``); structured
# ones are their fields with names, offsets and titles. ``long double`` is named for its format, since that
# differs between machines. Called by the array rules (numpy.py) and the ``.npy`` codec.


_SIMPLE = re.compile(r"[<>|][biufcSUVmMO]\d*(\[\w+(/\d+)?\])?")
_LONG = {63: "x87", 112: "quad", 105: "double-double"}
LONG_FORMAT = _LONG.get(int(np.finfo(np.longdouble).nmant), "double")
"""The format of this machine's ``long double``; ``double`` where it is no other type than float64."""


def describe(dtype: Any) -> Plain:
    """The dtype as plain data. Raises: Refused for user-defined ones."""
    if dtype.kind == "T":
        described: dict[str, Any] = {"string": bool(dtype.coerce)}
        return described | ({"na": dtype.na_object} if hasattr(dtype, "na_object") else {})
    is_known = dtype.subdtype is not None or dtype.names is not None or dtype.kind in "biufcSUVmMO"
    if dtype.isbuiltin == 2 or dtype.type.__module__ != "numpy" or not is_known:
        raise Refused(f"no rule says what a {dtype} is; convert the array to a dtype of numpy's own")
    if dtype.metadata:
        return {"of": _describe(dtype), "metadata": dict(dtype.metadata)}
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
    return bool(dtype.itemsize > 8 * (1 + (dtype.kind == "c")))  # bytes of a float64


def long_bytes(dtype: Any) -> tuple[int, int]:
    """Of each number in a long double: the bytes that say something, and all of them."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    return 10 if LONG_FORMAT == "x87" else width, width


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
