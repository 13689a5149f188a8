"""Stores: key -> bytes and attributes, in memory, on a disk or on a server. They know no values and no SQL.

The names load on first use, so that importing this package costs nothing, and a store whose driver is not
installed is in nobody's way. Those of ``wrappers``, stores made of stores, are a package of their own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.stores.base import Page, SignedUrl, Stat, Store, check_key, open_store
    from valuestore.stores.content import ContentStore, PayloadRef
    from valuestore.stores.filesystem import FileStore
    from valuestore.stores.fsspec import FsspecStore
    from valuestore.stores.memory import MemoryStore
    from valuestore.stores.redis import RedisStore
    from valuestore.stores.s3 import S3Store

_HOMES = {
    "ContentStore": "content",
    "FileStore": "filesystem",
    "FsspecStore": "fsspec",
    "MemoryStore": "memory",
    "Page": "base",
    "PayloadRef": "content",
    "RedisStore": "redis",
    "S3Store": "s3",
    "SignedUrl": "base",
    "Stat": "base",
    "Store": "base",
    "check_key": "base",
    "open_store": "base",
}

__all__ = [
    "ContentStore",
    "FileStore",
    "FsspecStore",
    "MemoryStore",
    "Page",
    "PayloadRef",
    "RedisStore",
    "S3Store",
    "SignedUrl",
    "Stat",
    "Store",
    "check_key",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
