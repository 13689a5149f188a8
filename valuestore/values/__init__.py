"""Values: object -> identity, and object <-> payload.

Here are the names for those who bring classes of their own; ``valuestore`` has the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.values.code.callables import MissingFunction as MissingFunction
    from valuestore.values.code.callables import is_missing_function as is_missing_function
    from valuestore.values.identity.canonical import Codec as Codec
    from valuestore.values.identity.canonical import TypeRule as TypeRule
    from valuestore.values.identity.foreign import ForeignType as ForeignType
    from valuestore.values.identity.foreign import register_type as register_type
    from valuestore.values.parse import parse_arg as parse_arg
    from valuestore.values.registry import TypeRegistry as TypeRegistry
    from valuestore.values.registry import get_type_registry as get_type_registry
    from valuestore.values.value import Value as Value

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "code.callables": "MissingFunction is_missing_function",
        "identity.canonical": "Codec TypeRule",
        "identity.foreign": "ForeignType register_type",
        "parse": "parse_arg",
        "registry": "TypeRegistry get_type_registry",
        "value": "Value",
    },
)
