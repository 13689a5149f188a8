"""Rules for numpy: arrays, scalars, dtypes and random generators.

An array is its dtype, its shape and the bytes of its elements, digested where they lie. Not part of it:
memory order (what comes back is in C order), strides, whether it was a view or a memory map, and bytes
between the fields of a structure. Byte order is part of the dtype. Floats are compared by their bits: -0.0
is not 0.0, and NaNs of other bits make other arrays. Arrays of Python objects are their elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from valuestore.errors import DecodeError
from valuestore.hashing import active_algorithm, hash_pieces
from valuestore.values.codecs import npy
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.preview import FIRST_ITEMS, FIRST_ROWS, first_items, table
from valuestore.values.value import Plain

_NPY = "npy"
_LONGEST_ELEMENT = 1024
_MOST_GAPS = 1024
"""How many bytes of memory at most stand for one that is stored."""


def digest_of(array: Any) -> str:
    """Digest of what an array's elements say, in C order; nothing is copied that lies so already."""
    return hash_pieces(npy.elements(array), algorithm=active_algorithm.get())[0]


def array_identity(array: Any) -> Plain:
    """Dtype, shape, and the digest of the elements or, if they are objects, the elements."""
    array = np.asarray(array)
    told = {"dtype": npy.describe(array.dtype), "shape": list(array.shape)}
    if array.dtype.names is not None and array.dtype.hasobject:
        return told | {"fields": {name: array[name] for name in array.dtype.names}}
    if array.dtype.hasobject or array.dtype.kind == "T":
        return told | {"items": array.reshape(-1).tolist()}
    if array.dtype.itemsize == 0 and array.size:
        raise Refused(f"elements of {array.dtype} have no bytes to tell them by")
    return told | {"digest": digest_of(array)}


def array_state(array: Any) -> Plain:
    """For arrays that the ``.npy`` format does not hold: the same with the bytes instead of their digest."""
    state = array_identity(array)
    if "digest" not in state:
        return state
    array = np.ascontiguousarray(array)
    gaps = npy.has_gaps(array.dtype) or npy.is_long(array.dtype)
    told = b"".join(npy.elements(array)) if gaps else array.tobytes()
    return {"dtype": state["dtype"], "shape": state["shape"], "bytes": told}


def array_from_state(state: Plain) -> Any:
    """The array. Raises: DecodeError."""
    dtype, shape = npy.dtype_of(state["dtype"]), tuple(state["shape"])
    size = npy.count(shape)
    if "fields" in state:
        return _from_fields(dtype, shape, state["fields"])
    if "items" in state:
        items = state["items"]
        if len(items) != size or dtype.kind not in "OT":
            raise DecodeError("numpy.ndarray", f"{len(items)} elements for the shape {shape}")
        array = np.empty(size, dtype)
        for index, item in enumerate(items):
            array[index] = item
        return array.reshape(shape)
    return _from_bytes(dtype, shape, state["bytes"])


def _from_fields(dtype: Any, shape: tuple[int, ...], fields: dict[str, Any]) -> Any:
    if set(fields) != set(dtype.names or ()) or any(
        field.shape[: len(shape)] != shape or field.dtype != dtype[name].base
        for name, field in fields.items()
    ):
        raise DecodeError("numpy.ndarray", "its fields have other shapes or dtypes")
    array = np.zeros(shape, dtype)
    for name, field in fields.items():
        array[name] = field
    return array


def _from_bytes(dtype: Any, shape: tuple[int, ...], told: bytes) -> Any:
    if npy.is_long(dtype):
        said, width = npy.long_bytes(dtype)
        numbers = np.frombuffer(told, np.uint8).reshape(-1, said)
        whole = np.zeros((len(numbers), width), np.uint8)
        whole[:, :said] = numbers
        return whole.reshape(-1).view(dtype).reshape(shape)
    if dtype.itemsize == 0 and math.prod(shape):
        raise DecodeError("numpy.ndarray", "elements without bytes")
    if dtype.itemsize * math.prod(shape) > _MOST_GAPS * len(told):
        raise DecodeError("numpy.ndarray", f"{len(told)} bytes are no array of {shape} {dtype}")
    if npy.has_gaps(dtype):
        clean = np.zeros(shape, dtype)
        clean[...] = np.frombuffer(told, npy.packed(dtype)).reshape(shape).astype(dtype)
        return clean
    return np.frombuffer(bytearray(told), dtype).reshape(shape) if told else np.empty(shape, dtype)


def _array_summary(array: Any) -> Plain:
    """Records as a table; of others dtype, shape and first elements, unless these are long."""
    dtype, shape = array.dtype, list(array.shape)
    if dtype.names and array.ndim == 1 and dtype.itemsize <= _LONGEST_ELEMENT:
        columns = [(name, dtype[name]) for name in dtype.names]
        few = [array[:FIRST_ROWS][name].tolist() for name in dtype.names[:FIRST_ITEMS]]
        return table(len(array), columns, few)
    flat = array.reshape(-1) if dtype.kind == "T" else array.flat  # whose items numpy 2 cannot load
    few = flat[:FIRST_ITEMS].tolist() if dtype.itemsize <= _LONGEST_ELEMENT else []
    return {"dtype": str(dtype), "shape": shape} | first_items(few)


def locate(array: Any, path: list[str]) -> None:
    """Let ``.items[5]`` of an array of objects read as the place in its shape."""
    if len(path) < 2 or path[-1] != ".items" or not path[-2][1:-1].isdigit():
        return
    place = np.unravel_index(int(path[-2][1:-1]), np.shape(array))
    path[-2:] = [f"[{', '.join(str(int(index)) for index in place)}]"]


def _plain_view(array: Any) -> Any:
    """As an array of the base class; a record array's records become plain structures."""
    plain = array.view(np.ndarray)
    if plain.dtype.type is np.record:
        plain = plain.view(np.dtype((np.void, plain.dtype)))
    return plain


def _array_rule(cls: Any, type_name: str, back: Any = None) -> TypeRule:
    """Of a class whose objects are arrays and nothing more; ``back`` makes one from an array."""

    def fits(array: Any) -> bool:
        return array.dtype.type is not np.record and npy.fits(array)

    if back is None:
        codec = Codec(_NPY, lambda array: npy.encode(array.view(np.ndarray)), npy.decode, fits)
        return TypeRule(
            cls,
            type_name,
            only(cls, array_identity),
            array_from_state,
            array_state,
            codec=codec,
            locate=locate,
            subclasses=True,
            summary=_array_summary,
        )

    def identity(array: Any) -> Plain:
        _check_attributes(array, {"_getitem"})  # of a matrix
        return array_identity(_plain_view(array))

    codec = Codec(
        _NPY,
        lambda array: npy.encode(_plain_view(array)),
        lambda data: back(npy.decode(data)),
        lambda array: npy.fits(_plain_view(array)),
    )
    return TypeRule(
        cls,
        type_name,
        identity,
        lambda state: back(array_from_state(state)),
        lambda array: array_state(_plain_view(array)),
        codec=codec,
        locate=locate,
        summary=lambda array: _array_summary(_plain_view(array)),
    )


_MASKED_OWN = vars(np.ma.masked_array([0], [False])).keys()


def _check_attributes(array: Any, known: Any) -> None:
    """Raises: Refused if somebody gave it attributes, which would be lost."""
    if more := vars(array).keys() - known:
        raise Refused(f"a {type(array).__name__} with an attribute {min(more)!r}; keep it beside the array")


def _masked_identity(array: Any) -> Plain:
    """Data below the mask counts too: it can be looked at."""
    _check_attributes(array, _MASKED_OWN)
    told = {
        "data": np.asarray(array.data),
        "mask": None if array.mask is np.ma.nomask else np.asarray(array.mask),
        "fill_value": np.asarray(array.fill_value),
        "hard": bool(array.hardmask),
    }
    return told | {"info": array._optinfo} if array._optinfo else told


def _masked(state: Plain) -> Any:
    mask = np.ma.nomask if state["mask"] is None else state["mask"]
    if state["fill_value"].dtype.hasobject and not state["data"].dtype.hasobject:
        raise DecodeError("numpy.ma.MaskedArray", "its fill value is an object")
    array: Any = np.ma.MaskedArray(
        state["data"], mask, fill_value=state["fill_value"][()], hard_mask=state["hard"], copy=False
    )
    array._optinfo.update(state.get("info", {}))
    return array


def only(cls: type, identity: Callable[[Any], Plain]) -> Callable[[Any], Plain]:
    """The identity of a class that refuses subclasses: what they add is in no pickle of theirs either.

    Rules with it serve subclasses, which are thus not taken apart (reduction.py) and told alike.
    """

    def narrowed(obj: Any) -> Plain:
        if type(obj) is not cls:
            raise Refused(
                f"what a {type(obj).__qualname__} adds to a {cls.__qualname__} is not known; "
                "register a TypeRule for it, or pass it as its base class"
            )
        return identity(obj)

    narrowed.narrow = True  # type: ignore[attr-defined]  # asked for by TypeRule.narrow
    return narrowed


def _moment(scalar: Any) -> Plain:
    return {"dtype": scalar.dtype.str, "ticks": int(np.asarray(scalar).view(np.int64))}


def _moment_from_state(state: Plain) -> Any:
    return np.array(state["ticks"], np.int64).view(npy.dtype_of(state["dtype"]))[()]


def _scalar_state(scalar: Any) -> Plain:
    return array_state(np.asarray(scalar))


def _scalar(state: Plain) -> Any:
    return array_from_state(state)[()]


def _number_rules() -> list[TypeRule]:
    """One rule for each number class; those of C types with one dtype (``longlong``) share its name."""
    rules = []
    for code in "?bhilqBHILQefdFD":
        dtype = np.dtype(code)
        name = "numpy.bool" if code == "?" else f"numpy.{np.dtype(dtype.str).name}"
        rules.append(TypeRule(dtype.type, name, np.generic.item, np.dtype(dtype.str).type))
    if npy.LONG_FORMAT == "double":
        return [
            *rules,
            TypeRule(np.longdouble, "numpy.float64", np.generic.item, np.float64),
            TypeRule(np.clongdouble, "numpy.complex128", np.generic.item, np.complex128),
        ][::-1]
    return [
        *rules,
        TypeRule(np.longdouble, "numpy.longdouble", _scalar_state, _scalar),
        TypeRule(np.clongdouble, "numpy.clongdouble", _scalar_state, _scalar),
    ]


_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_BIT_GENERATORS: dict[str, Any] = {name: getattr(np.random, name) for name in _GENERATORS}
_SEED = ("entropy", "spawn_key", "pool_size", "n_children_spawned")


def _bits_identity(bits: Any) -> Plain:
    """Its state, and the seed sequence that ``spawn`` goes on from."""
    seed = getattr(bits, "seed_seq", None)
    is_known = type(seed) is np.random.SeedSequence
    return {"state": bits.state, "seed": {name: getattr(seed, name) for name in _SEED} if is_known else None}


def _bits(state: Plain) -> Any:
    cls = _BIT_GENERATORS.get(state["state"]["bit_generator"])
    if cls is None:
        raise DecodeError("numpy.random.BitGenerator", f"no {state['state']['bit_generator']!r} here")
    bits: Any = cls(np.random.SeedSequence(**state["seed"]) if state["seed"] else 0)
    bits.state = state["state"]
    return bits


def _legacy(state: Plain) -> Any:
    cls: Any = _BIT_GENERATORS[state["bit_generator"]]
    generator = np.random.RandomState(cls(0))
    generator.set_state(state)
    return generator


RULES = [
    _array_rule(np.memmap, "numpy.ndarray"),
    _array_rule(np.ndarray, "numpy.ndarray"),
    _array_rule(np.matrix, "numpy.matrix", lambda array: array.view(np.matrix)),
    _array_rule(np.recarray, "numpy.recarray", lambda array: array.view(np.recarray)),
    TypeRule(np.ma.MaskedArray, "numpy.ma.MaskedArray", _masked_identity, _masked),
    TypeRule(type(np.ma.masked), "numpy.ma.masked", lambda _: None, lambda _: np.ma.masked),
    TypeRule(np.dtype, "numpy.dtype", npy.describe, npy.dtype_of, subclasses=True),
    *_number_rules(),
    TypeRule(np.str_, "numpy.str_", str, np.str_),
    TypeRule(np.bytes_, "numpy.bytes_", bytes, np.bytes_),
    TypeRule(np.datetime64, "numpy.datetime64", _moment, _moment_from_state),
    TypeRule(np.timedelta64, "numpy.timedelta64", _moment, _moment_from_state),
    TypeRule(np.void, "numpy.void", _scalar_state, _scalar),
    TypeRule(np.record, "numpy.record", _scalar_state, _scalar),
    TypeRule(np.generic, "numpy.generic", only(np.generic, _scalar_state), _scalar, subclasses=True),
    *[
        TypeRule(cls, f"numpy.random.{name}", _bits_identity, _bits)
        for name, cls in sorted(_BIT_GENERATORS.items())
    ],
    TypeRule(
        np.random.Generator,
        "numpy.random.Generator",
        lambda generator: generator.bit_generator,
        np.random.Generator,
    ),
    TypeRule(
        np.random.RandomState,
        "numpy.random.RandomState",
        lambda generator: generator.get_state(legacy=False),
        _legacy,
    ),
]
