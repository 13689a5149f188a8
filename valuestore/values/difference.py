"""Difference: what sets two stored values apart, told from their plain payloads without building them.

Bounded in depth, number and length; no code of a value's class runs, and no class needs to be there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from valuestore.errors import DecodeError, PayloadError, StoreError
from valuestore.hashing import NotPlain, encode_plain
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.codecs.plain import decode_form
from valuestore.values.identity.canonical import NODE
from valuestore.values.identity.refusal import Refused
from valuestore.values.preview import cell, preview

MOST_CHANGES = 20
_DEEPEST = 20
_LONGEST = 200
_COMPARED_MAX_BYTES = 4 << 20
_COMPARED_TABLE_MAX_BYTES = 64 << 20

_CODECS = frozenset({"arrow", "npy"})
_MISSING = object()

Kind = Literal["changed", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two values differ: ``path`` such as ``["rows"][3].name``, empty for the whole value.

    ``before`` and ``after`` are short JSON texts; None where there is nothing. ``note`` says what of a frame
    or array changed (column `price` differs in 3 of 1,000 rows), they are the first items that differ then.
    """

    path: str
    kind: Kind
    before: str | None
    after: str | None
    note: str | None = None


def difference(before: Any, after: Any, most: int = MOST_CHANGES) -> list[Change]:
    """The first ``most`` places where two canonical forms differ, in order."""
    return list(islice(_changes("", before, after, 0), most))


def _changes(path: str, before: Any, after: Any, depth: int) -> Iterator[Change]:
    if before is _MISSING or after is _MISSING:
        kind: Kind = "added" if before is _MISSING else "removed"
        yield Change(path, kind, _text(before), _text(after))
        return
    if _same(before, after):
        return
    if _is_stored(before, after):
        yield from _columns(path, before, after)
        return
    pairs = _pairs(before, after) if depth < _DEEPEST else None
    if pairs is None:
        yield Change(path, "changed", _text(before), _text(after))
        return
    for step, old, new in pairs:
        yield from _changes(path + step, old, new, depth + 1)


def _is_stored(before: Any, after: Any) -> bool:
    """Whether both are frames or arrays of one type, as payloads of one format."""
    both = _is_node(before) and _is_node(after) and len(before) == len(after) == 4
    return both and before[:3] == after[:3] and before[2] in _CODECS


def _columns(path: str, before: Any, after: Any) -> Iterator[Change]:
    """Nothing for a whole value whose columns do not differ: its previews say more than its type."""
    found = columns_that_differ(before[2], before[3], after[3])
    for column, old, new, note in found:
        kind: Kind = "added" if old is _MISSING else "removed" if new is _MISSING else "changed"
        step = "" if column is None else f"[{_text(column)}]"
        said = _cut(f"{path}: {note}" if path else note)
        yield Change(path + step, kind, _text(old), _text(new), said)
    if path and not found:
        yield Change(path, "changed", _text(before), _text(after))


def _labelled(before: Any, after: Any) -> tuple[Any, Any]:
    """The states of two frames of pandas that no Arrow file holds: columns by label, if these are texts."""
    match before, after:
        case (
            {"columns": (_, _, {"data": (_, _, {"items": [*labels]})}) as old, "data": [*_]},
            {"columns": new, "data": [*_]},
        ) if old == new and {*map(type, labels)} <= {str} and len({*labels}) == len(labels):
            data = [dict(zip(labels, each["data"], strict=False)) for each in (before, after)]
            return before | {"data": data[0]}, after | {"data": data[1]}
    return before, after


def _pairs(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]] | None:
    """The parts of two containers that stand at the same place; None if they have no parts to compare."""
    if type(before) is not type(after):
        return None
    if type(before) is dict:
        return _entries(before, after, "[{}]")
    if type(before) is list or (type(before) is tuple and not _is_node(before) and not _is_node(after)):
        return _items(before, after)
    if _is_node(before) and _is_node(after) and before[:2] == after[:2] and len(before) == len(after) == 3:
        return _node(before[2], after[2])
    return None


def _node(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """The state of objects of one type: their fields by name if it is a dict of names."""
    before, after = _labelled(before, after)
    if (
        type(before) is dict
        and type(after) is dict
        and all(isinstance(key, str) for key in (*before, *after))
    ):
        yield from _entries(before, after, ".{}")
    else:
        yield "", before, after


def _entries(before: dict[Any, Any], after: dict[Any, Any], form: str) -> Iterator[tuple[str, Any, Any]]:
    for key in (*before, *(key for key in after if key not in before)):
        shown = str(key) if form.startswith(".") else _text(key)
        yield form.format(shown), before.get(key, _MISSING), after.get(key, _MISSING)


def _items(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    """Items by position; what both begin and end with is left out: one inserted item is one change."""
    start = 0
    while start < min(len(before), len(after)) and _same(before[start], after[start]):
        start += 1
    end = 0
    shorter = min(len(before), len(after)) - start
    while end < shorter and _same(before[-1 - end], after[-1 - end]):
        end += 1
    for number in range(start, max(len(before), len(after)) - end):
        old = before[number] if number < len(before) - end else _MISSING
        new = after[number] if number < len(after) - end else _MISSING
        yield f"[{number}]", old, new


def _same(before: Any, after: Any) -> bool:
    """Equal in type, too, at any depth: ``[1]`` and ``[True]`` are two values."""
    if type(before) is not type(after):
        return False
    try:
        return encode_plain(before) == encode_plain(after)
    except (NotPlain, RecursionError, ValueError):
        return False


def _is_node(form: Any) -> bool:
    return type(form) is tuple and len(form) in (3, 4) and form[0] == NODE


def _text(form: Any) -> str | None:
    if form is _MISSING:
        return None
    return _cut(preview(form, 1 << 20) if not isinstance(form, str) else json.dumps(form))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def form_of(ref: ValueRef, archive: Archive) -> Any:
    """A value's canonical form, a frame's with its payload; None if it is large, lost or unknown."""
    is_table = ref.codec in _CODECS
    if ref.size > (_COMPARED_TABLE_MAX_BYTES if is_table else _COMPARED_MAX_BYTES):
        return None
    try:
        if is_table:
            return NODE, ref.type_name, ref.codec, archive.read(ref)
        return decode_form(ref.codec, archive.read(ref))
    except (PayloadError, StoreError):
        return None


# --- Columns: what sets two stored frames or arrays of one type apart, told from their payloads.
#
# Arrow files and ``.npy`` alone, which their libraries read without executing anything. A NaN equals itself,
# as in the value hash. Nothing is expanded.


Difference = tuple[str | None, Any, Any, str]
"""The column (None: all of them), what was there before and after (or ``_MISSING``), a sentence."""

_Table = tuple[int, dict[str | None, tuple[str, Any]]]
"""The number of rows; columns by label, each with its type. What is no table is the one column None."""


def columns_that_differ(codec: str, before: bytes, after: bytes) -> list[Difference]:
    """What differs; empty if that cannot be told: no library, damage, or labels and metadata alone."""
    read = _of_arrow if codec == "arrow" else _of_npy
    try:
        return list(_differences(read(before), read(after)))
    except (ImportError, DecodeError, Refused, ValueError, TypeError, SyntaxError, NotImplementedError):
        return []


def _differences(before: _Table, after: _Table) -> Iterator[Difference]:
    (old_rows, old), (new_rows, new) = before, after
    for name in [name for name in new if name not in old]:
        yield name, _MISSING, new[name][0], f"column `{name}` added"
    for name in [name for name in old if name not in new]:
        yield name, old[name][0], _MISSING, f"column `{name}` removed"
    if old.keys() == new.keys() and list(old) != list(new):
        yield None, list(old), list(new), "columns in another order"
    unit = "elements" if None in old else "rows"
    if added := new_rows - old_rows:
        yield None, old_rows, new_rows, f"{abs(added):,} {unit} {'added' if added > 0 else 'removed'}"
    shared = min(old_rows, new_rows)
    for name in [name for name in old if name in new]:
        what = "" if name is None else f"column `{name}` "
        (of, ours), (new_of, theirs) = old[name], new[name]
        if of != new_of:
            yield name, of, new_of, f"{what}is {new_of}, was {of}"
            continue
        compared = _arrow_rows if hasattr(ours, "chunks") else _npy_rows
        count, first = compared(ours[:shared], theirs[:shared])
        if first is not None:
            where = f"in {count:,} of {shared:,} {unit}, first in {first:,}"
            yield name, _item(ours[first]), _item(theirs[first]), f"{what}differs {where}"
        elif count:
            yield name, of, of, f"{what}differs"


def _item(item: Any) -> Any:
    """As Python has it, what Arrow or numpy gave."""
    return cell(item.as_py() if hasattr(item, "as_py") else item.tolist())


def _of_arrow(data: bytes) -> _Table:
    from valuestore.values.codecs import ipc

    table = ipc.decode(data)
    if table.num_rows > 8 * len(data):
        raise DecodeError(ipc.ARROW, f"{table.num_rows} rows in {len(data)} bytes")
    columns: dict[str | None, tuple[str, Any]] = {}
    seen: Counter[str] = Counter()
    for name, column in zip(table.column_names, table.columns, strict=True):
        label = "index" if name == "__index__" else name
        seen[label] += 1
        columns[label if seen[label] == 1 else f"{label} ({seen[label]})"] = str(column.type), column
    return table.num_rows, columns


def _arrow_rows(before: Any, after: Any) -> tuple[int, int | None]:
    """How many differ, and the number of the first; None where that is not told, or there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from valuestore.values.codecs.arrow import column_content

    of = before.type
    if pa.types.is_dictionary(of):
        both = pa.chunked_array([*before.chunks, *after.chunks], of).unify_dictionaries()
        indices = pa.chunked_array([chunk.indices for chunk in both.chunks], of.index_type)
        before, after = indices[: len(before)], indices[len(before) :]
    try:
        differs = pc.fill_null(pc.not_equal(before, after), False)
    except pa.ArrowNotImplementedError:  # lists, say
        return int(column_content(before) != column_content(after)), None
    if pa.types.is_floating(of):
        nans = [pc.fill_null(pc.is_nan(each), False) for each in (before, after)]
        differs = pc.and_not(differs, pc.and_(*nans))
    differs = pc.or_(differs, pc.xor(pc.is_null(before), pc.is_null(after)))
    count = pc.sum(differs).as_py() or 0
    return count, pc.index(differs, True).as_py() if count else None


def _of_npy(data: bytes) -> _Table:
    """Records by their fields; of another array the elements in C order."""
    from valuestore.values.codecs import npy

    array = npy.decode(data)
    if array.dtype.names and array.ndim == 1:
        return len(array), {name: (str(array.dtype[name]), array[name]) for name in array.dtype.names}
    shape = "" if array.ndim == 1 else f" of {'x'.join(map(str, array.shape))}"
    return array.size, {None: (f"{array.dtype}{shape}", array.reshape(-1))}


def _npy_rows(before: Any, after: Any) -> tuple[int, int | None]:
    import numpy as np

    if not len(before):
        return 0, None
    old, new = (np.ascontiguousarray(each).view(np.uint8).reshape(len(each), -1) for each in (before, after))
    differs = (old != new).any(axis=1)
    return int(differs.sum()), int(differs.argmax()) if differs.any() else None
