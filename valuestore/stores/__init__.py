"""Stores: key -> bytes and attributes, in memory, on a disk or on a server. They know no values and no SQL.

The names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.stores.base import Page, SignedUrl, Stat, Store, check_key, open_store
    from valuestore.stores.content import ContentStore, PayloadRef
    from valuestore.stores.filesystem import FileStore
    from valuestore.stores.memory import MemoryStore

_HOMES = {
    "ContentStore": "content",
    "FileStore": "filesystem",
    "MemoryStore": "memory",
    "Page": "base",
    "PayloadRef": "content",
    "SignedUrl": "base",
    "Stat": "base",
    "Store": "base",
    "check_key": "base",
    "open_store": "base",
}

__all__ = [
    "ContentStore",
    "FileStore",
    "MemoryStore",
    "Page",
    "PayloadRef",
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
