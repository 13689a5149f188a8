"""Operation: what may be asked of a result before it is there. The scheduler applies it when it is.

Called by call.py, whose expressions make operations; ``tag`` adds one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from valuestore.errors import NotUnpackable

BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift")
LOGIC = ("and", "or", "xor")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
UNARY = ("neg", "pos", "abs", "invert")

OPERATIONS: dict[str, Callable[..., Any]] = {
    "getattr": getattr,
    "getitem": operator.getitem,
    **{name: getattr(operator, name) for name in (*BINARY, *COMPARISONS, *UNARY)},
    **{name: getattr(operator, f"__{name}__") for name in LOGIC},
}
"""What may be asked of a result before it is there, by the name that is recorded."""


def _unpack(value: Any, number: int, count: int) -> Any:
    """One of the parts of a result that was taken apart before it was there."""
    if not isinstance(value, tuple | list) or len(value) != count:
        found = f"has {len(value)}" if isinstance(value, tuple | list) else f"is a {type(value).__name__}"
        raise NotUnpackable(count, found)
    return value[number]


OPERATIONS["unpack"] = _unpack
