"""Summary: what a preview shows of models, frames and arrays: shape, types, first items, as plain data.

Made of the objects when they are hashed, for people: not part of any identity. No code of the user's runs:
a cell whose class is not known is shown by the name of that, a model by its parameters as they lie there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any

from valuestore.hashing import ATOMS
from valuestore.values.value import Plain, is_same

if TYPE_CHECKING:
    from valuestore.values.identity.canonical import TypeRule

FIRST_ROWS = 3
FIRST_ITEMS = 8
_DEEPEST = 5
_LONGEST = 60
_SPOKEN = {"datetime", "decimal", "uuid", "numpy"}
_SPOKEN_OF_PANDAS = {"Timestamp", "Timedelta", "Period", "Interval", "NaTType", "NAType"}
"""Classes whose ``str`` is short and runs nothing else; not arrays, which ask their elements."""


def summarised(obj: Any, form: Plain, rule_of: Callable[[Any], TypeRule]) -> Plain:
    """The canonical form of an object, with summaries in the place of what has one, among first items too."""
    try:
        return _summarised(obj, form, rule_of, _DEEPEST)
    except Exception:  # noqa: BLE001  # an odd library or label: a preview is not worth a failure
        return form


def _summarised(obj: Any, form: Any, rule_of: Callable[[Any], TypeRule], depth: int) -> Plain:
    kind = type(obj)
    if kind in ATOMS or not depth:
        return form
    if kind is dict and type(form) is dict:
        few = [(key, value) for key, value in islice(obj.items(), FIRST_ITEMS) if type(key) is str]
        return form | {key: _summarised(value, form[key], rule_of, depth - 1) for key, value in few}
    if kind in (list, tuple) and type(form) is kind and len(form) == len(obj):
        few = [_summarised(*pair, rule_of, depth - 1) for pair in zip(obj[:FIRST_ITEMS], form, strict=False)]
        return kind([*few, *form[FIRST_ITEMS:]])
    if _is_model(obj):
        return _model(obj, depth)
    rule = rule_of(obj) if kind not in (dict, list, tuple, set, frozenset) else None
    return form if rule is None or rule.summary is None else rule.summary(obj)


def table(rows: int, columns: Iterable[tuple[Any, Any]], first: list[list[Any]]) -> Plain:
    """A frame: number of rows, labels with types, and the first rows; ``first`` has them by column."""
    named = [(str(label), str(of)) for label, of in columns]
    types: Plain = dict(named)
    if len(types) < len(named):
        types = [f"{label}: {of}" for label, of in named]
    rows_of_cells = [[cell(item) for item in row] for row in zip(*first, strict=True)]
    told = {"rows": rows, "columns": types}
    return told | {"first": rows_of_cells} if rows_of_cells else told


def first_items(items: Iterable[Any]) -> dict[str, Plain]:
    """The entry ``first`` of what has items; empty if it has none."""
    first = [cell(item) for item in items]
    return {"first": first} if first else {}


def cell(item: Any) -> Plain:
    """One item as an atom: itself, a short text of it, or the name of its class."""
    kind = type(item)
    if kind in ATOMS:
        return item
    if kind in (list, tuple, dict):
        return f"{kind.__name__} of {len(item)}"
    library = kind.__module__.partition(".")[0]
    is_scalar = library in _SPOKEN and not hasattr(kind, "__array_finalize__") and kind.__name__ != "void"
    if is_scalar or (library == "pandas" and kind.__name__ in _SPOKEN_OF_PANDAS):
        with suppress(Exception):
            return str(item)[:_LONGEST]
    return kind.__name__


# --- Models: what follows the conventions of scikit-learn, shown as it shows them: Ridge(alpha=0.5).


def _is_model(obj: Any) -> bool:
    return callable(getattr(type(obj), "get_params", None)) and hasattr(obj, "__dict__")


def _model(obj: Any, depth: int) -> str:
    """The class, and the parameters that are other than by default."""
    own = vars(obj)
    parameters = [each for each in signature(type(obj)).parameters.values() if each.name in own]
    told = [
        f"{each.name}={_shown(own[each.name], depth)}"
        for each in parameters
        if not is_same(own[each.name], each.default)
    ]
    return f"{type(obj).__name__}({', '.join(told)})"


def _shown(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in (list, tuple) and depth:
        opening, closing = "[]" if kind is list else "()"
        more = ["..."] if len(value) > FIRST_ITEMS else []
        few = [_shown(each, depth - 1) for each in value[:FIRST_ITEMS]]
        return f"{opening}{', '.join(few + more)}{closing}"
    if depth and _is_model(value):
        return _model(value, depth - 1)
    told = cell(value[:_LONGEST] if kind in (str, bytes) else value)
    return repr(told) if kind in ATOMS else str(told)
