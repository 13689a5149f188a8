"""Tables: rows with a primary key and ordered indexes, in memory or on Redis, and a cache of a slow source.

They know no SQL, and nothing of values and pipelines. The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.tables.cached import CachedTable as CachedTable
    from valuestore.tables.cached import Moved as Moved
    from valuestore.tables.codecs import Array as Array
    from valuestore.tables.codecs import Bool as Bool
    from valuestore.tables.codecs import Bytes as Bytes
    from valuestore.tables.codecs import Codec as Codec
    from valuestore.tables.codecs import Float32 as Float32
    from valuestore.tables.codecs import Float64 as Float64
    from valuestore.tables.codecs import FloatAsString as FloatAsString
    from valuestore.tables.codecs import Int8 as Int8
    from valuestore.tables.codecs import Int16 as Int16
    from valuestore.tables.codecs import Int32 as Int32
    from valuestore.tables.codecs import Int64 as Int64
    from valuestore.tables.codecs import IntAsString as IntAsString
    from valuestore.tables.codecs import JsonText as JsonText
    from valuestore.tables.codecs import Nullable as Nullable
    from valuestore.tables.codecs import String as String
    from valuestore.tables.codecs import UInt8 as UInt8
    from valuestore.tables.codecs import UInt16 as UInt16
    from valuestore.tables.codecs import UInt32 as UInt32
    from valuestore.tables.codecs import UInt64 as UInt64
    from valuestore.tables.codecs import UtcDatetime as UtcDatetime
    from valuestore.tables.codecs import Uuid as Uuid
    from valuestore.tables.interval import Interval as Interval
    from valuestore.tables.memory import MemoryTable as MemoryTable
    from valuestore.tables.redis import RedisTable as RedisTable
    from valuestore.tables.table import Batch as Batch
    from valuestore.tables.table import Table as Table

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "cached": "CachedTable Moved",
        "codecs": (
            "Array Bool Bytes Codec Float32 Float64 FloatAsString Int8 Int16 Int32 Int64 IntAsString "
            "JsonText Nullable String UInt8 UInt16 UInt32 UInt64 UtcDatetime Uuid"
        ),
        "interval": "Interval",
        "memory": "MemoryTable",
        "redis": "RedisTable",
        "table": "Batch Table",
    },
)
