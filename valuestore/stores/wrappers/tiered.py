"""Tiered: a fast store before a slow one: as a cache of it, or as a layer over it that takes the writes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal

from valuestore.errors import ConfigError, NotSupported
from valuestore.observe import Observer
from valuestore.stores.base import SignedUrl, Store
from valuestore.stores.memory import MemoryStore
from valuestore.stores.wrappers.base import Wrapper
from valuestore.stores.wrappers.caching import Caching
from valuestore.stores.wrappers.evicting import Evicting
from valuestore.stores.wrappers.layering import Layered

ADMIT_MAX_BYTES = 16 << 20


class Tiered(Wrapper):
    """Two stores as one. A delete reaches both, and each key is listed once.

    ``write="through"``: the slow store decides, ``fast`` is a cache of it, see ``Caching``; it should hold
    nothing else. ``write="first"``: writes go to ``fast`` alone, which hides what ``slow`` has at a key,
    until ``push`` takes it down, see ``Layered``; the other settings mean nothing then.
    """

    def __init__(
        self,
        fast: Store,
        slow: Store,
        *,
        write: Literal["through", "first"] = "through",
        fill: bool = True,
        admit_max_bytes: int | None = ADMIT_MAX_BYTES,
        others_write: bool = True,
        observers: Iterable[Observer] = (),
    ) -> None:
        told = tuple(observers)
        self._given = {
            "fast": fast,
            "slow": slow,
            "write": write,
            "fill": fill,
            "admit_max_bytes": admit_max_bytes,
            "others_write": others_write,
            "observers": told,
        }
        if write not in ("through", "first"):
            raise ConfigError("write", f"{write!r} is neither 'through' nor 'first'")
        self._layers = Layered(fast, slow) if write == "first" else None
        self._cache = None
        if self._layers is None:
            self._cache = Caching(
                slow,
                fast,
                admit_max_bytes=admit_max_bytes,
                fill=fill,
                others_write=others_write,
                observers=told,
            )
            super().__init__(self._cache)
        else:
            super().__init__(self._layers)

    @property
    def hits(self) -> int:
        """How many reads the fast store answered, as a cache."""
        return 0 if self._cache is None else self._cache.hits

    @property
    def misses(self) -> int:
        """How many it did not."""
        return 0 if self._cache is None else self._cache.misses

    def push(self, key: str) -> None:
        """Move what was written first down to the slow store.

        Raises: NotFound if the fast store does not have it; NotSupported for a cache, whose writes went down.
        """
        if self._layers is None:
            raise NotSupported(self.url, "push", "it writes through, so there is nothing to push")
        self._layers.push(key)

    def batch(self) -> AbstractContextManager[Store]:
        raise NotSupported(self.url, "batches", "change one tier, or one key at a time")

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
    ) -> SignedUrl:
        if self._layers is not None or method.upper() == "PUT":
            raise NotSupported(self.url, f"signed URLs to {method} past a tier", "use the slow store's")
        return super().sign(key, method, expires_seconds, content_md5=content_md5)

    def _settings(self) -> dict[str, Any]:
        return self._given


def cached(store: Store, max_bytes: int, *, others_write: bool = True) -> Store:
    """The store with a cache in memory of at most ``max_bytes``; the store itself if that is 0."""
    if not max_bytes:
        return store
    return Tiered(
        Evicting(MemoryStore(), max_bytes),
        store,
        admit_max_bytes=min(max_bytes, ADMIT_MAX_BYTES),
        others_write=others_write,
    )
