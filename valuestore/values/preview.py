"""Previews: a short JSON text of a value, for people and for SQL's JSON functions.

Made from the canonical form alone, so a preview never runs code of the value's class and needs no class
to be there. Always valid JSON, ASCII only (no NUL, no lone surrogate reaches a text column), bounded.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import Any

from valuestore.values.identity.canonical import EXPRESSION, NODE
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
        return node if -(1 << 63) <= node < 1 << 63 else _int_text(node)
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


def _int_text(number: int) -> str:
    digits = round(number.bit_length() * 0.30103)
    return str(number) if digits < 100 else f"an integer of about {digits} digits"
