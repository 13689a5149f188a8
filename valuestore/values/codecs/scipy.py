"""Rules for scipy.sparse: matrices and arrays of every format, by the numpy arrays that they are made of.

The format counts, and so do the order of the entries, duplicates and explicit zeros, where a format has
such. Formats that keep entries in Python lists and dicts (lil, dok) count as what they hold. Stored by
state: each array in ``.npy`` form inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from valuestore.errors import DecodeError
from valuestore.values.identity.canonical import TypeRule
from valuestore.values.value import Plain


def _shape(matrix: Any) -> list[int]:
    return [int(length) for length in matrix.shape]


def _compressed(matrix: Any) -> Plain:
    parts = {name: getattr(matrix, name) for name in ("data", "indices", "indptr")}
    return {"shape": _shape(matrix)} | parts


def _coordinates(matrix: Any) -> Plain:
    coords = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    return {"shape": _shape(matrix), "data": matrix.data, "coords": [np.asarray(axis) for axis in coords]}


def _keys(matrix: Any) -> Plain:
    """Entries in the order of their places; the dict's order is how it was filled."""
    told = _coordinates(matrix.tocoo())
    order = np.lexsort(tuple(reversed(told["coords"])))
    return told | {"data": told["data"][order], "coords": [axis[order] for axis in told["coords"]]}


def _from_compressed(cls: Any, state: Plain) -> Any:
    parts = (state["data"], state["indices"], state["indptr"])
    matrix = cls(parts, shape=tuple(state["shape"]))
    matrix.check_format(full_check=True)
    # the constructor may have chosen another index type
    matrix.indices, matrix.indptr = state["indices"], state["indptr"]
    return matrix


def _from_coordinates(cls: Any, state: Plain) -> Any:
    matrix = cls((state["data"], tuple(state["coords"])), shape=tuple(state["shape"]))
    if hasattr(matrix, "coords"):
        matrix.coords = tuple(state["coords"])
    return matrix


_FORMATS: dict[str, tuple[Callable[[Any], Plain], Callable[[Any, Plain], Any]]] = {
    "csr": (_compressed, _from_compressed),
    "csc": (_compressed, _from_compressed),
    "bsr": (_compressed, _from_compressed),
    "coo": (_coordinates, _from_coordinates),
    "dia": (
        lambda matrix: {"shape": _shape(matrix), "data": matrix.data, "offsets": matrix.offsets},
        lambda cls, state: cls((state["data"], state["offsets"]), shape=tuple(state["shape"])),
    ),
    "lil": (
        lambda matrix: _compressed(matrix.tocsr()),
        lambda cls, state: cls(_from_compressed(sp.csr_array, state)),
    ),
    "dok": (_keys, lambda cls, state: cls(_from_coordinates(sp.coo_array, state))),
}


def _rule(name: str, identity: Callable[[Any], Plain], build: Callable[[Any, Plain], Any]) -> TypeRule:
    cls, type_name = getattr(sp, name), f"scipy.sparse.{name}"

    def checked(state: Plain) -> Any:
        arrays: list[Any] = [part for name, part in state.items() if name not in ("shape", "coords")]
        arrays += state.get("coords", [])
        if not all(isinstance(array, np.ndarray) and not array.dtype.hasobject for array in arrays):
            raise DecodeError(type_name, "it is not made of arrays")
        return build(cls, state)

    return TypeRule(cls, type_name, identity, checked)


RULES = [
    _rule(f"{name}_{kind}", identity, build)
    for name, (identity, build) in _FORMATS.items()
    for kind in ("matrix", "array")
]
