"""Previews: a short JSON text of a value, for people and for SQL's JSON functions.

Made from the canonical form alone, so a preview never runs code of the value's class and needs no class
to be there. Always valid JSON, ASCII only (no NUL, no lone surrogate reaches a text column), bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import signature
from itertools import islice
from typing import Any

from valuestore.hashing import ATOMS
from valuestore.values.identity.canonical import EXPRESSION, NODE, TypeRule
from valuestore.values.value import Plain

PREVIEW_MAX_CHARS = 500


def preview(lowered: Plain, size: int) -> str:
    """JSON of a canonical form: whole if it fits ``PREVIEW_MAX_CHARS``, else shortened level by level.

    ``size`` is the payload's, in bytes: what is far too large is not even tried whole.
    """
    if size <= PREVIEW_MAX_CHARS * 2:
        whole = _dumps(_readable(lowered, depth=12, items=10_000, text=10_000))
        if len(whole) <= PREVIEW_MAX_CHARS:
            return whole
    for depth, items, text in ((4, 8, 120), (2, 4, 40), (1, 2, 20)):
        shortened = _dumps(_readable(lowered, depth, items, text))
        if len(shortened) <= PREVIEW_MAX_CHARS:
            return shortened
    return _dumps(_summary(lowered))


def preview_text(text: str) -> str:
    """JSON of a string, cut to fit."""
    whole = _dumps(text[:PREVIEW_MAX_CHARS])
    return whole if max(len(text), len(whole)) <= PREVIEW_MAX_CHARS else _dumps(_cut(text, 60))


def preview_bytes(data: bytes) -> str:
    """JSON of a byte string: its beginning and its size."""
    return _dumps(_bytes_text(data))


_dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _readable(node: Plain, depth: int, items: int, text: int, rows: Any = ()) -> object:
    """JSON-able data that says what the node says. ``rows`` are those of the expression that it is in."""
    kind = type(node)
    if kind is str:
        return _cut(node, text)
    if kind is int:
        if -(1 << 63) <= node < 1 << 63:
            return node
        digits = round(node.bit_length() * 0.30103)
        return str(node) if digits < 100 else f"an integer of about {digits} digits"
    if kind is float:
        return node if math.isfinite(node) else repr(node)
    if kind is bytes:
        return _bytes_text(node)
    if kind not in (list, tuple, dict):
        return node
    if kind is tuple and len(node) == 3 and node[:2] == (NODE, EXPRESSION) and type(node[2]) is not str:
        return _readable_row(node[2], depth, items, text, rows)
    if kind is tuple and len(node) in (3, 4) and node[0] == NODE:
        return _readable(node[2], depth, items, text, rows) if len(node) == 3 else _summary(node)
    if depth == 0:
        return _summary(node)
    if kind is dict:
        shown = {
            _key(key): _readable(value, depth - 1, items, text, rows)
            for key, value in islice(node.items(), items)
        }
        if len(node) > items:
            shown["..."] = f"{len(node) - items} more"
        return shown
    parts = [_readable(item, depth - 1, items, text, rows) for item in node[:items]]
    if len(node) > items:
        parts.append(f"... {len(node) - items} more")
    return parts


def _readable_row(named: Plain, depth: int, items: int, text: int, rows: list[Any]) -> object:
    """The row of that number, or the last of a list of rows; by its type alone where it was shown before."""
    if type(named) is list:
        rows, named = [*named], len(named) - 1
    if type(named) is not int or not 0 <= named < len(rows):
        return EXPRESSION
    row = rows[named]
    rows[named] = _summary(row)
    is_shown = depth > 0 and (type(row) is not tuple or row[:2] != (NODE, EXPRESSION))
    return _readable(row, depth, items, text, rows) if is_shown else rows[named]


def _summary(node: Plain) -> str:
    kind = type(node)
    if kind is tuple and len(node) in (3, 4) and node[0] == NODE:
        return str(node[1])
    if kind in (list, tuple, dict):
        return f"{kind.__name__} of {len(node)}"
    return _cut(str(node), 20) if kind is not bytes else _bytes_text(node)


def _key(key: object) -> str:
    return _cut(key, 60) if isinstance(key, str) else str(_readable(key, 1, 4, 40))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def _bytes_text(data: bytes) -> str:
    return f"{data[:16]!r}... ({len(data)} bytes)" if len(data) > 16 else repr(data)


# --- Summaries: what is shown of models, frames and arrays: shape, types, first items, as plain data.
#
# Made of the objects when they are hashed: not part of any identity. No code of the user's runs: a cell whose
# class is not known is shown by the name of that, a model by its parameters as they lie there.


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
        if not _is_same(own[each.name], each.default)
    ]
    return f"{type(obj).__name__}({', '.join(told)})"


def _is_same(value: Any, default: Any) -> bool:
    """Whether it is that very object, or an equal atom."""
    both = type(value) is type(default) and type(value) in ATOMS
    return value is default or (both and bool(value == default))


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
