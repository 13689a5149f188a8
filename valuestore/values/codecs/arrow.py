"""Rules for pyarrow: tables, record batches, arrays, scalars, schemas and types, by logical content.

Chunks, slices and offsets do not count; types, nullability, metadata and the order of dictionaries do.
What comes back has each column in one chunk per record batch that was written. Unions are refused.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes
from valuestore.values import preview
from valuestore.values.codecs import ipc
from valuestore.values.codecs.arrow_content import content, describe, describe_field, metadata_of
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.preview import FIRST_ITEMS, FIRST_ROWS, first_items
from valuestore.values.value import Plain

_ONLY = "value"
"""The column that an array is stored as."""


def _chunks(column: Any) -> list[Any]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def column_content(column: Any) -> Plain:
    """What an array or chunked array holds. Raises: Refused."""
    return content(_chunks(column), column.type)


def _table_identity(table: Any) -> Plain:
    schema = _schema_identity(table.schema)
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        try:
            columns.append(column_content(column))
        except Refused as refusal:
            refusal.parts.append(f"[{field.name!r}]")
            raise
    return {"schema": schema, "rows": table.num_rows, "columns": columns}


def _schema_identity(schema: Any) -> Plain:
    return {"fields": [_described(field) for field in schema], "metadata": metadata_of(schema)}


def _described(field: Any) -> Plain:
    try:
        return describe_field(field)
    except Refused as refusal:
        refusal.parts.append(f"[{field.name!r}]")
        raise


def _array_identity(array: Any) -> Plain:
    return {"type": describe(array.type), "content": column_content(array)}


def _decode_batch(data: Bytes) -> Any:
    table = ipc.decode(data).combine_chunks()
    if not table.num_columns:
        raise DecodeError("pyarrow.RecordBatch", "it has no columns")
    return ipc.batch_of(table)


def _encode_array(array: Any) -> list[Bytes]:
    column = pa.chunked_array(_chunks(array), array.type)
    return ipc.encode(pa.Table.from_arrays([column], schema=pa.schema([pa.field(_ONLY, array.type)])))


def _decode_chunked(data: Bytes) -> Any:
    table = ipc.decode(data)
    if table.column_names != [_ONLY]:
        raise DecodeError("pyarrow.Array", "it is a table")
    return table.column(0)


def _decode_array(data: Bytes) -> Any:
    column = _decode_chunked(data)
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _array_of(scalar: Any) -> Any:
    return pa.array([scalar], scalar.type)


def _decode_scalar(data: Bytes) -> Any:
    array = _decode_array(data)
    if len(array) != 1:
        raise DecodeError("pyarrow.Scalar", f"it holds {len(array)} values")
    return array[0]


def _encode_field(field: Any) -> list[Bytes]:
    return ipc.encode(pa.schema([field]).empty_table())


def _keeps_rows(table: Any) -> bool:
    return bool(table.num_columns or not table.num_rows)


def _rule(
    cls: Any,
    name: str,
    identity: Any,
    encode: Any,
    decode: Any,
    fits: Any = lambda _: True,
    *,
    family: bool = False,
    summary: Any = None,
) -> TypeRule:
    """Stored as an IPC file; ``family`` says that the subclasses, one for each Arrow type, are served too."""

    def unreadable(_state: Plain) -> Any:
        raise DecodeError(f"pyarrow.{name}", "stored without its content")

    def state(_obj: Any) -> Plain:
        raise Refused(f"a {name} without columns cannot be stored")

    codec = Codec(ipc.ARROW, encode, decode, fits)
    return TypeRule(
        cls, f"pyarrow.{name}", identity, unreadable, state, codec=codec, subclasses=family, summary=summary
    )


def _table_summary(table: Any) -> Plain:
    columns = [(field.name, field.type) for field in table.schema]
    first = [_first(column, FIRST_ROWS) for column in table.columns[:FIRST_ITEMS]]
    return preview.table(table.num_rows, columns, first)


def _first(column: Any, most: int) -> list[Any]:
    """The first items; of lists and structures, which may be long, the type."""
    head = column.slice(0, most)
    return [str(column.type)] * len(head) if pa.types.is_nested(column.type) else head.to_pylist()


def _array_summary(array: Any) -> Plain:
    return {"rows": len(array), "type": str(array.type)} | first_items(_first(array, FIRST_ITEMS))


RULES = [
    _rule(pa.Table, "Table", _table_identity, ipc.encode, ipc.decode, _keeps_rows, summary=_table_summary),
    _rule(
        pa.RecordBatch,
        "RecordBatch",
        _table_identity,
        lambda batch: ipc.encode(pa.Table.from_batches([batch])),
        _decode_batch,
        lambda batch: bool(batch.num_columns),
        summary=_table_summary,
    ),
    _rule(
        pa.ChunkedArray,
        "ChunkedArray",
        _array_identity,
        _encode_array,
        _decode_chunked,
        summary=_array_summary,
    ),
    _rule(
        pa.Array, "Array", _array_identity, _encode_array, _decode_array, family=True, summary=_array_summary
    ),
    _rule(
        pa.Scalar,
        "Scalar",
        lambda scalar: _array_identity(_array_of(scalar)),
        lambda scalar: _encode_array(_array_of(scalar)),
        _decode_scalar,
        family=True,
    ),
    _rule(
        pa.Schema,
        "Schema",
        _schema_identity,
        lambda schema: ipc.encode(schema.empty_table()),
        lambda data: ipc.decode(data).schema,
    ),
    _rule(pa.Field, "Field", describe_field, _encode_field, lambda data: ipc.decode(data).schema.field(0)),
    _rule(
        pa.DataType,
        "DataType",
        describe,
        lambda of: _encode_field(pa.field(_ONLY, of)),
        lambda data: ipc.decode(data).schema.field(0).type,
        family=True,
    ),
]
