"""Values: object -> identity, and object <-> payload.

Here are the names for those who bring classes of their own; ``valuestore`` has the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.values.callables import MissingFunction as MissingFunction
    from valuestore.values.callables import is_missing_function as is_missing_function
    from valuestore.values.canonical import Codec as Codec
    from valuestore.values.canonical import TypeRule as TypeRule
    from valuestore.values.foreign import ForeignType as ForeignType
    from valuestore.values.foreign import register_type as register_type
    from valuestore.values.parse import parse_arg as parse_arg
    from valuestore.values.registry import TypeRegistry as TypeRegistry
    from valuestore.values.registry import get_type_registry as get_type_registry
    from valuestore.values.value import Value as Value

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "callables": "MissingFunction is_missing_function",
        "canonical": "Codec TypeRule",
        "foreign": "ForeignType register_type",
        "parse": "parse_arg",
        "registry": "TypeRegistry get_type_registry",
        "value": "Value",
    },
)
