"""Wrappers: each a store made of stores, and one policy each. Put one around the other to combine them.

A wrapper owns what it wraps: closing it closes that, and its pickle holds that one's configuration.
``Retrying`` belongs outside of those that count or judge a stream as it passes (``Observed``, ``Limited``,
``Compressed``), since what they hand on can be read but once. The names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.stores.wrappers.base import Wrapper as Wrapper
    from valuestore.stores.wrappers.caching import Cached as Cached
    from valuestore.stores.wrappers.caching import Tiered as Tiered
    from valuestore.stores.wrappers.caching import cached as cached
    from valuestore.stores.wrappers.compressed import Compressed as Compressed
    from valuestore.stores.wrappers.configured import check_config as check_config
    from valuestore.stores.wrappers.configured import store_from_config as store_from_config
    from valuestore.stores.wrappers.evicting import Evicting as Evicting
    from valuestore.stores.wrappers.layering import Layered as Layered
    from valuestore.stores.wrappers.limited import Limited as Limited
    from valuestore.stores.wrappers.observed import Observed as Observed
    from valuestore.stores.wrappers.readonly import ReadOnly as ReadOnly
    from valuestore.stores.wrappers.renaming import Prefixed as Prefixed
    from valuestore.stores.wrappers.retrying import Retrying as Retrying
    from valuestore.stores.wrappers.routed import ByUrl as ByUrl
    from valuestore.stores.wrappers.routed import Routed as Routed
    from valuestore.stores.wrappers.routed import join as join
    from valuestore.stores.wrappers.sized import Sized as Sized

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": "Wrapper",
        "caching": "Cached Tiered cached",
        "compressed": "Compressed",
        "configured": "check_config store_from_config",
        "evicting": "Evicting",
        "layering": "Layered",
        "limited": "Limited",
        "observed": "Observed",
        "readonly": "ReadOnly",
        "renaming": "Prefixed",
        "retrying": "Retrying",
        "routed": "ByUrl Routed join",
        "sized": "Sized",
    },
)
