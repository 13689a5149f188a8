"""Values: object -> identity, and object <-> payload.

Here are the names for those who bring classes of their own; ``valuestore`` has the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.values.callables import MissingFunction, is_missing_function
    from valuestore.values.canonical import Codec, TypeRule
    from valuestore.values.foreign import ForeignType, register_type
    from valuestore.values.parse import parse_arg
    from valuestore.values.registry import TypeRegistry, get_type_registry
    from valuestore.values.value import Value

_HOMES = {
    "Codec": "canonical",
    "ForeignType": "foreign",
    "MissingFunction": "callables",
    "TypeRegistry": "registry",
    "TypeRule": "canonical",
    "Value": "value",
    "get_type_registry": "registry",
    "is_missing_function": "callables",
    "parse_arg": "parse",
    "register_type": "foreign",
}

__all__ = [
    "Codec",
    "ForeignType",
    "MissingFunction",
    "TypeRegistry",
    "TypeRule",
    "Value",
    "get_type_registry",
    "is_missing_function",
    "parse_arg",
    "register_type",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
