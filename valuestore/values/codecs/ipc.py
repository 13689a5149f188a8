"""Arrow IPC files: the payload format of tables, whoever made them. pyarrow and polars read it as it is.

Written without compression and, where the arrays allow it, without copying them. Reading never follows an
offset that was not checked: messages are read in their order, the footer is not looked at, compressed ones
are refused before they are expanded, and the result is validated in full. Format:
https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
"""

from __future__ import annotations

import io
import struct
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes

ARROW = "arrow"
"""The name of the codec."""

_MAGIC = b"ARROW1\0\0"
_EXTENSION = b"ARROW:extension:name"


class _Sink(io.RawIOBase):
    """A file that keeps what is written as pieces, not copied."""

    def __init__(self) -> None:
        self.pieces: list[Bytes] = []
        self.size = 0

    def write(self, data: Any) -> int:
        piece = data if isinstance(data, bytes) else memoryview(data).cast("B")
        if len(piece):
            self.pieces.append(piece)
            self.size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self.size

    def writable(self) -> bool:
        return True


def encode(table: Any) -> list[Bytes]:
    """The table as an IPC file, in pieces; each record batch is as the table's chunks are."""
    sink = _Sink()
    options = pa.ipc.IpcWriteOptions(unify_dictionaries=True)
    with pa.ipc.new_file(pa.PythonFile(sink, "w"), table.schema, options=options) as writer:
        if table.num_rows:
            writer.write_table(table)
        else:
            writer.write_batch(batch_of(table.unify_dictionaries()))  # which may have entries
    return sink.pieces


def batch_of(table: Any) -> Any:
    """A table of one chunk at most as a batch."""
    columns = table.columns
    arrays = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)


def decode(data: Bytes) -> Any:
    """The table, its columns views of ``data``. Raises: DecodeError."""
    buffer = pa.py_buffer(data)
    if len(buffer) < len(_MAGIC) or bytes(memoryview(buffer)[: len(_MAGIC)]) != _MAGIC:
        raise DecodeError(ARROW, "it is no Arrow IPC file")
    stream = buffer.slice(len(_MAGIC))
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
            if message.type in ("record batch", "dictionary") and _is_compressed(
                memoryview(message.metadata)
            ):
                raise DecodeError(ARROW, "its buffers are compressed, which valuestore never writes")
        table = pa.ipc.open_stream(pa.BufferReader(stream)).read_all()
        table.validate(full=True)
    except DecodeError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DecodeError(ARROW, f"damaged: {str(error)[:200]}") from error
    for field in table.schema:
        if field.metadata and _EXTENSION in field.metadata:
            name = field.metadata[_EXTENSION].decode(errors="replace")
            raise DecodeError(ARROW, f"this program has not registered the extension type {name}")
    return table


def _is_compressed(metadata: memoryview) -> bool:
    """Whether the record batch that this message's flatbuffer describes has compressed buffers.

    Fields by their number in Message.fbs: Message 1 is the header's type (2: a dictionary, 3: a record
    batch) and 2 the header; DictionaryBatch 1 is its record batch; RecordBatch 3 the compression.
    """
    try:
        message = _follow(metadata, 0)
        kind = metadata[_field(metadata, message, 1)]
        header = _follow(metadata, _field(metadata, message, 2))
        if kind == 2:
            header = _follow(metadata, _field(metadata, header, 1))
        return _field(metadata, header, 3) != 0
    except (struct.error, IndexError) as error:
        raise DecodeError(ARROW, "damaged: a message that describes nothing") from error


def _follow(data: memoryview, at: int) -> int:
    return int(at + struct.unpack_from("<I", data, at)[0])


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table is; 0 if it is not there."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise IndexError(vtable)
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + entry)[0]
    return int(table + offset) if offset else 0
