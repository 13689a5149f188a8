"""Attributes: what callers note beside the data, in JSON and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_ATTRS_MAX_DEPTH = 100
_INT_MAX_BITS = 14_000  # json refuses integers of more than 4300 digits, see sys.set_int_max_str_digits


def copy_attrs(attrs: Mapping[str, Json]) -> dict[str, Any]:
    """An independent copy of the attributes, all the way down.

    Raises: TypeError, naming the place, for anything that JSON would not give back as it was.
    """
    if not isinstance(attrs, Mapping):
        raise TypeError(f"attributes are a mapping, not {type(attrs).__name__}")
    copied = _copy_json(dict(attrs), "attrs", 0)
    return cast(dict[str, Any], copied)


def _copy_json(value: Any, place: str, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int and value.bit_length() <= _INT_MAX_BITS:
        return value
    if kind is float and math.isfinite(value):
        return value
    if depth > _ATTRS_MAX_DEPTH:
        raise TypeError(f"attributes nest at most {_ATTRS_MAX_DEPTH} deep")
    if kind is list:
        return [_copy_json(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    if kind is dict and all(type(name) is str for name in value):
        return {name: _copy_json(item, f"{place}[{name!r}]", depth + 1) for name, item in value.items()}
    raise TypeError(f"{place} is not a JSON value: {kind.__name__}")
