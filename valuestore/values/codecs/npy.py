"""The ``.npy`` format: one array, a short text header and its elements. Any tool that has numpy reads it.

Written and read by hand, so that bytes do not depend on numpy's version, views are not copied, and a forged
header cannot ask for more memory than there are bytes. Always in C order. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values.codecs.dtypes import count, has_gaps, is_long, long_bytes, packed

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
        yield raw(_without_gaps(array) if has_gaps(array.dtype) else np.ascontiguousarray(array))


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


def _without_gaps(array: Any) -> Any:
    """A copy whose bytes between the fields are zero."""
    clean = np.zeros(array.shape, array.dtype)
    _copy_fields(array, clean)
    return clean


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


# --- elements -----------------------------------------------------------------------------------


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
