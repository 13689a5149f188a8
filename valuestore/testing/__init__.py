"""Conformance suites: subclass one in a dozen lines, and it tells if your part keeps the contract.

Needs pytest and hypothesis; nothing else in the library imports it. The suites load on first use, so that
one for stores needs no database and no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from valuestore.testing.codec_contract import CodecContract
    from valuestore.testing.stores import StoreContract, StoreMachine
    from valuestore.testing.value_contract import ValueContract

_HOMES = {
    "CodecContract": "codec_contract",
    "StoreContract": "stores",
    "StoreMachine": "stores",
    "ValueContract": "value_contract",
}

__all__ = ["CodecContract", "StoreContract", "StoreMachine", "ValueContract"]

_REWRITTEN = ("codec_contract", "store_contract", "store_machine", "value_contract")
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in _REWRITTEN))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
