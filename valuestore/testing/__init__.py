"""Conformance suites: subclass one in a dozen lines, and it tells if your part keeps the contract.

Needs pytest and hypothesis; nothing else in the library imports it. The suites load on first use, so that
one for stores needs no database and no server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.testing.codec_contract import CodecContract as CodecContract
    from valuestore.testing.stores import StoreContract as StoreContract
    from valuestore.testing.stores import StoreMachine as StoreMachine
    from valuestore.testing.value_contract import ValueContract as ValueContract

_REWRITTEN = ("codec_contract", "store_contract", "stores", "value_contract")
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in _REWRITTEN))

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "codec_contract": "CodecContract",
        "stores": "StoreContract StoreMachine",
        "value_contract": "ValueContract",
    },
)
