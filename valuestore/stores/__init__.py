"""Stores: key -> bytes and attributes, in memory, on a disk or on a server. They know no values and no SQL.

One room for each backend; ``wrappers`` are stores made of stores, ``content`` keeps payloads by their digest.
The names load on first use, so that a store whose driver is not installed is in nobody's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.stores.base import Page as Page
    from valuestore.stores.base import SignedUrl as SignedUrl
    from valuestore.stores.base import Stat as Stat
    from valuestore.stores.base import Store as Store
    from valuestore.stores.base import check_key as check_key
    from valuestore.stores.content.store import ContentStore as ContentStore
    from valuestore.stores.content.store import PayloadRef as PayloadRef
    from valuestore.stores.files.store import FileStore as FileStore
    from valuestore.stores.fsspec.store import FsspecStore as FsspecStore
    from valuestore.stores.memory import MemoryStore as MemoryStore
    from valuestore.stores.open import open_store as open_store
    from valuestore.stores.redis.store import RedisStore as RedisStore
    from valuestore.stores.s3.store import S3Store as S3Store

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": "Page SignedUrl Stat Store check_key",
        "content.store": "ContentStore PayloadRef",
        "files.store": "FileStore",
        "fsspec.store": "FsspecStore",
        "memory": "MemoryStore",
        "open": "open_store",
        "redis.store": "RedisStore",
        "s3.store": "S3Store",
    },
)
