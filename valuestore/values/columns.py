"""Columns: what sets two stored frames or arrays of one type apart, told from their payloads.

Arrow files and ``.npy`` alone, which their libraries read without executing anything; no class of a frame
is needed. A NaN equals itself, as in the value hash. Nothing is expanded. Called by difference.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from valuestore.errors import DecodeError
from valuestore.values.identity.refusal import Refused
from valuestore.values.summary import cell

CODECS = frozenset({"arrow", "npy"})
ABSENT = object()
Difference = tuple[str | None, Any, Any, str]
"""The column (None: all of them), what was there before and after (``ABSENT``: nothing), a sentence."""

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
        yield name, ABSENT, new[name][0], f"column `{name}` added"
    for name in [name for name in old if name not in new]:
        yield name, old[name][0], ABSENT, f"column `{name}` removed"
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


# --- Arrow files --------------------------------------------------------------------------------------------


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


# --- .npy ---------------------------------------------------------------------------------------------------


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
