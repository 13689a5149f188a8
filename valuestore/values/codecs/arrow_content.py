"""The logical content of Arrow arrays, as plain data: what is hashed of them.

Independent of chunks, slices, unused bits and bytes (below nulls, before offsets), and of whether a validity
bitmap is there when nothing is null. Types are described in words of our own, since ``str(type)`` is for
people. Called by the rules of pyarrow, pandas and polars. Layouts: https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from valuestore.hashing import active_algorithm, hash_pieces
from valuestore.values.identity.canonical import Refused
from valuestore.values.value import Plain

_is = pa.types

_NESTED: list[tuple[Callable[[Any], bool], str]] = [
    (_is.is_map, "map"),
    (_is.is_large_list, "large_list"),
    (_is.is_list, "list"),
    (_is.is_fixed_size_list, "fixed_size_list"),
    (_is.is_list_view, "list_view"),
    (_is.is_large_list_view, "large_list_view"),
]
_TEXTS = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")
_BYTES = {getattr(pa, name)(): name for name in _TEXTS}
_BARE = _BYTES | {pa.bool_(): "bool", pa.month_day_nano_interval(): "month_day_nano"}
_BARE |= {getattr(pa, name)(): name for name in ("null", "float16", "float32", "float64", "date32", "date64")}
_BARE |= {
    getattr(pa, f"{sign}int{bits}")(): f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_UNITS: list[tuple[Callable[[Any], bool], str]] = [
    (_is.is_time32, "time32"),
    (_is.is_time64, "time64"),
    (_is.is_duration, "duration"),
]

_EXTENSIONS = {
    "arrow.uuid": (),
    "arrow.json": (),
    "arrow.bool8": (),
    "arrow.fixed_shape_tensor": ("shape", "dim_names", "permutation"),
    "arrow.opaque": ("type_name", "vendor_name"),
}
"""The attributes that make one of Arrow's own extension types the type that it is."""


def describe(of: Any) -> Plain:
    """A type as plain data. Raises: Refused for unions and what else has no description here."""
    if isinstance(of, pa.BaseExtensionType):
        return ["extension", of.extension_name, _describe_extension(of), describe(of.storage_type)]
    if (bare := _BARE.get(of)) is not None:
        return bare
    if _is.is_timestamp(of):
        return ["timestamp", of.unit, of.tz]
    for test, name in _UNITS:
        if test(of):
            return [name, of.unit]
    if _is.is_decimal(of):
        return ["decimal", of.bit_width, of.precision, of.scale]
    if _is.is_fixed_size_binary(of):
        return ["fixed_size_binary", of.byte_width]
    return _describe_nested(of)


def _describe_extension(of: Any) -> Plain:
    if isinstance(of, pa.ExtensionType):
        return of.__arrow_ext_serialize__()
    if of.extension_name not in _EXTENSIONS:
        raise Refused(f"no rule says what identifies Arrow's extension type {of.extension_name}")
    return [getattr(of, name) for name in _EXTENSIONS[of.extension_name]]


def _describe_nested(of: Any) -> Plain:
    if _is.is_struct(of):
        return ["struct", [describe_field(of.field(index)) for index in range(of.num_fields)]]
    if _is.is_dictionary(of):
        return ["dictionary", describe(of.index_type), describe(of.value_type), of.ordered]
    if _is.is_run_end_encoded(of):
        return ["run_end_encoded", describe(of.run_end_type), describe(of.value_type)]
    if _is.is_map(of):
        return ["map", describe_field(of.key_field), describe_field(of.item_field), of.keys_sorted]
    for test, name in _NESTED:
        if test(of):
            size = [of.list_size] if name == "fixed_size_list" else []
            return [name, describe_field(of.value_field), *size]
    raise Refused(f"no rule says what identifies Arrow data of type {of}")


def describe_field(field: Any) -> Plain:
    """Name, type, whether it may be null, and metadata."""
    return [field.name, describe(field.type), field.nullable, metadata_of(field)]


def metadata_of(owner: Any) -> Plain:
    """The metadata of a field or schema; its order does not count."""
    return sorted([list(pair) for pair in owner.metadata.items()]) if owner.metadata else None


def content(chunks: list[Any], of: Any) -> Plain:
    """What these arrays of one type hold: length, digests of validity and values. Raises: Refused."""
    chunks, of = _without_views(chunks, of)
    length = sum(map(len, chunks))
    nulls = sum(chunk.null_count for chunk in chunks)
    told: list[Any] = [length]
    if isinstance(of, pa.BaseExtensionType):
        return content([chunk.storage for chunk in chunks], of.storage_type)
    if _is.is_null(of):
        return told
    if _is.is_run_end_encoded(of):
        return content([pc.run_end_decode(chunk) for chunk in chunks], of.value_type)
    if nulls:
        told.append(_digest(_fixed(pc.cast(chunk.is_valid(), pa.uint8()), 1) for chunk in chunks))
        chunks = [chunk.drop_null() if chunk.null_count else chunk for chunk in chunks]
    else:
        told.append(None)
    return told + _values(chunks, of)


def _without_views(chunks: list[Any], of: Any) -> tuple[list[Any], Any]:
    """Texts that are not one run of bytes as such that are; maps as the lists that they are."""
    if _is.is_string_view(of) or _is.is_binary_view(of):
        plain = pa.large_binary()
    elif _is.is_map(of):
        plain = pa.list_(pa.struct([of.key_field, of.item_field]))
    else:
        return chunks, of
    return [chunk.cast(plain) for chunk in chunks], plain


def _values(chunks: list[Any], of: Any) -> list[Plain]:
    """The same of arrays without nulls, their length and validity told already."""
    if _is.is_dictionary(of):
        return _dictionary(chunks, of)
    if _is.is_struct(of):
        parts = [chunk.flatten() for chunk in chunks]
        return [
            content([part[index] for part in parts], of.field(index).type) for index in range(of.num_fields)
        ]
    if any(test(of) for test, _ in _NESTED):
        lengths = [] if _is.is_fixed_size_list(of) else [_lengths(chunks, pc.list_value_length)]
        return [*lengths, content([chunk.flatten() for chunk in chunks], of.value_type)]
    if of in _BYTES:
        return [_lengths(chunks, pc.binary_length), _digest(map(_text_bytes, chunks))]
    if _is.is_boolean(of):
        return [_digest(_fixed(pc.cast(chunk, pa.uint8()), 1) for chunk in chunks)]
    return [_digest(_fixed(chunk, of.bit_width // 8) for chunk in chunks)]


def _dictionary(chunks: list[Any], of: Any) -> list[Plain]:
    """The dictionary, its order and its unused entries included, and the indices."""
    whole = pa.chunked_array(chunks, of).unify_dictionaries()
    words = [whole.chunk(0).dictionary] if whole.num_chunks else []
    return [content(words, of.value_type), content([chunk.indices for chunk in whole.chunks], of.index_type)]


def _lengths(chunks: list[Any], length_of: Callable[[Any], Any]) -> str:
    """Digest of the lengths of texts or lists, four or eight bytes each as their type has it."""
    lengths = (length_of(chunk) for chunk in chunks)
    return _digest(_fixed(length, length.type.bit_width // 8) for length in lengths)


def _fixed(array: Any, width: int) -> memoryview | None:
    """The values of an array of fixed width without nulls, in place."""
    values = array.buffers()[1]
    if values is None or not len(array) or not width:
        return None
    return memoryview(values).cast("B")[array.offset * width : (array.offset + len(array)) * width]


def _text_bytes(array: Any) -> memoryview | None:
    """The bytes of all texts one after the other, in place."""
    _, offsets, data = array.buffers()
    if data is None or not len(array) or not data.size:
        return None
    code = "q" if _is.is_large_string(array.type) or _is.is_large_binary(array.type) else "i"
    at: Any = memoryview(offsets).cast("B").cast(code)  # type: ignore[call-overload]  # of one format or the other
    return memoryview(data).cast("B")[at[array.offset] : at[array.offset + len(array)]]


def _digest(pieces: Iterator[memoryview | None]) -> str:
    return hash_pieces(filter(None, pieces), algorithm=active_algorithm.get())[0]
