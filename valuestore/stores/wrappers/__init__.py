"""Wrappers: each a store made of stores, and one policy each. Put one around the other to combine them.

A wrapper owns what it wraps: closing it closes that, and its pickle holds that one's configuration.
``Retrying`` belongs outside of those that count or judge a stream as it passes (``Observed``, ``Limited``,
``Compressed``), since what they hand on can be read but once. The names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.stores.wrappers.base import Wrapper
    from valuestore.stores.wrappers.compressed import Compressed
    from valuestore.stores.wrappers.configured import store_from_config
    from valuestore.stores.wrappers.evicting import Evicting
    from valuestore.stores.wrappers.limited import Limited
    from valuestore.stores.wrappers.observed import Observed
    from valuestore.stores.wrappers.prefixed import Prefixed
    from valuestore.stores.wrappers.readonly import ReadOnly
    from valuestore.stores.wrappers.retrying import Retrying
    from valuestore.stores.wrappers.routed import ByUrl, Routed, join
    from valuestore.stores.wrappers.sized import Sized
    from valuestore.stores.wrappers.tiered import Tiered, cached

_HOMES = {
    "ByUrl": "routed",
    "Compressed": "compressed",
    "Evicting": "evicting",
    "Limited": "limited",
    "Observed": "observed",
    "Prefixed": "prefixed",
    "ReadOnly": "readonly",
    "Retrying": "retrying",
    "Routed": "routed",
    "Sized": "sized",
    "Tiered": "tiered",
    "Wrapper": "base",
    "cached": "tiered",
    "join": "routed",
    "store_from_config": "configured",
}

__all__ = [
    "ByUrl",
    "Compressed",
    "Evicting",
    "Limited",
    "Observed",
    "Prefixed",
    "ReadOnly",
    "Retrying",
    "Routed",
    "Sized",
    "Tiered",
    "Wrapper",
    "cached",
    "join",
    "store_from_config",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
