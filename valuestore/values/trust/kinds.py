"""Kinds: which stored values load for everybody, and which with the signature of a trusted key alone.

The one table of that (docs/decisions/0017), by which gate.py looks at what is stored. *Inert* values are
those of the table, their states checked for exact types and names; *data classes* (data_classes.py) are their
fields; everything else is *vouched*. Called by the registry and the gate; builds and imports nothing.
"""

from __future__ import annotations

import array
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple

from valuestore.hashing import ATOMS
from valuestore.values.identity.canonical import NODE, TypeRule
from valuestore.values.trust.data_classes import fields_check, is_key_safe, why_not_data
from valuestore.values.value import type_name_of

Check = Callable[[Any], bool]
"""Whether a state, nothing in it built yet, has the exact types that it is stored with."""

CONTAINERS = frozenset({list, tuple, dict})
_LONGEST_WORD = 200
_MOST_BITS = 1 << 16
_MOST_POOL = 1 << 10
_FLAGS = int(re.A | re.I | re.L | re.M | re.S | re.U | re.X)
_SHIFT = re.compile(r"[+-]\d\d:\d\d")
_ZONE = re.compile(r"(?!dateutil/)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}")


class Kind(Enum):
    """What it takes to load a value of such a type."""

    INERT = "inert"
    DATA = "data class"
    VOUCHED = "vouched"


class Opening(NamedTuple):
    """How a type's stored states are looked at.

    ``parts_are_inert``: its builder is a library's, so what it is given must be inert too. ``is_key``: may be
    a member of a set or a key. ``parts_are_keys``: its parts become such.
    """

    kind: Kind
    check: Check = lambda _: False
    parts_are_inert: bool = False
    is_key: bool = True
    parts_are_keys: bool = False


# --- the table ----------------------------------------------------------------------------------


def _a(*types: type) -> Check:
    return lambda state: type(state) in types


def _row(*checks: Check) -> Check:
    def fits(state: Any) -> bool:
        if type(state) is not list or len(state) != len(checks):
            return False
        return all(check(part) for check, part in zip(checks, state, strict=True))

    return fits


def _fields(may: dict[str, Check] | None = None, /, **must: Check) -> Check:
    """By names: all of ``must``, and what there is of ``may``."""
    checks = must | (may or {})

    def fits(state: Any) -> bool:
        if type(state) is not dict or not must.keys() <= state.keys() <= checks.keys():
            return False
        return all(checks[name](part) for name, part in state.items())

    return fits


def _each(check: Check) -> Check:
    return lambda state: type(state) is list and all(map(check, state))


def _one_of(words: str) -> Check:
    return lambda state: type(state) is str and state in words.split()


def _named(check: Check) -> Check:
    return lambda state: _names(state) and all(map(check, state.values()))


def _either(*checks: Check) -> Check:
    return lambda state: any(check(state) for check in checks)


def _those(names: str, check: Check, of: str = "") -> dict[str, Check]:
    """A check for several types; ``of`` is what all of their names begin with."""
    return {of + name: check for name in names.split()}


def _node(names: str, of: str = "") -> Check:
    """An object of one of these types, by its state or in its format."""
    known = _those(names, _anything, of)
    return lambda state: (
        type(state) is tuple and len(state) in (3, 4) and state[0] == NODE and state[1] in known
    )


def _anything(_state: Any) -> bool:
    return True


def _word(state: Any) -> bool:
    return type(state) is str and len(state) <= _LONGEST_WORD


def _names(state: Any) -> bool:
    return type(state) is dict and all(type(name) is str for name in state)


def _moderate(state: Any) -> bool:
    return type(state) is int and state.bit_length() <= _MOST_BITS


def _zone_key(state: Any) -> bool:
    return _word(state) and _ZONE.fullmatch(state) is not None


def is_zone_name(state: Any) -> bool:
    """Whether pandas looks that name up among the system's time zones alone; None is one."""
    return state is None or _zone_key(state) or (_word(state) and _SHIFT.fullmatch(state) is not None)


def _ints(state: Any) -> bool:
    return type(state) in (list, tuple) and {int}.issuperset(map(type, state))


def _perhaps_texts(state: Any) -> bool:
    return type(state) is list and {str, type(None)}.issuperset(map(type, state))


def _flags(state: Any) -> bool:
    return type(state) is int and state & ~_FLAGS == 0


def _typecode(state: Any) -> bool:
    return type(state) is str and len(state) == 1 and state in array.typecodes


def _pool(state: Any) -> bool:
    """Of a random generator's seed: how large a pool to make."""
    return type(state) is int and 0 < state <= _MOST_POOL


def _label(state: Any) -> bool:
    """A name of rows or columns, or what stands for a missing value."""
    if type(state) is tuple and state[:1] != (NODE,):
        return all(map(_label, state))
    return type(state) in ATOMS or _scalar(state)


def _dtype(state: Any) -> bool:
    return _described(state)


def _external(state: Any) -> bool:
    """Of a File and its like: text, numbers and bytes by name; of a FileSet also the states of its Files."""
    if not _names(state):
        return False
    files = state.get("files", [])
    marks = [part for name, part in state.items() if name != "files"]
    fits = type(files) is list and all(_names(file) and "files" not in file for file in files)
    return fits and CONTAINERS.isdisjoint(map(type, [*marks, *[p for file in files for p in file.values()]]))


def _entry(state: Any) -> bool:
    """Of a name of the catalog: the value that it was bound to with what it takes to read it, or None."""
    word_or_none, data = _either(_word, _none), _a(bytes)
    signed = _either(_none, _row(_word, _word, data))
    value = _either(_none, _row(_word, _word, _word, word_or_none, _int, _either(_none, data), signed))
    return _fields(name=_text, digest=_word, size=_int, value=value)(state)


_none, _int, _float, _text = _a(type(None)), _a(int), _a(float), _a(str)
_mapping = _either(_a(dict), _node("builtins.dict"))
_maps = _either(
    _mapping,
    _node("OrderedDict Counter defaultdict ChainMap", "collections."),
    _node("types.MappingProxyType"),
)
_zone = _either(_none, _node("datetime.timezone zoneinfo.ZoneInfo"))
_moment = _row(_word, lambda fold: type(fold) is int and fold in (0, 1), _zone)
_number = _either(_a(bool, int, float), _node("builtins.complex"))

STANDARD: dict[str, Check] = {
    "array.array": _row(_typecode, _int, _a(bytes)),
    "builtins.bytearray": _a(bytes),
    "builtins.complex": _row(_float, _float),
    "builtins.ellipsis": _none,
    "builtins.frozenset": _a(list),
    "builtins.range": _row(_int, _int, _int),
    "builtins.set": _a(list),
    "builtins.slice": _row(_anything, _anything, _anything),
    "collections.ChainMap": lambda state: type(state) is list and all(map(_maps, state)),
    "collections.Counter": _mapping,
    "collections.OrderedDict": _mapping,
    "collections.UserString": _text,
    "collections.defaultdict": _row(_none, _mapping),
    "collections.deque": _row(_a(list), _a(int, type(None))),
    "datetime.date": _word,
    "datetime.datetime": _moment,
    "datetime.time": _moment,
    "datetime.timedelta": _row(_int, _int, _int),
    "datetime.timezone": _row(_node("datetime.timedelta"), _either(_none, _word)),
    "decimal.Decimal": _text,
    "fractions.Fraction": _row(_moderate, _moderate),
    "re.Pattern": _row(_a(str, bytes), _flags),
    "types.MappingProxyType": _mapping,
    "types.SimpleNamespace": _names,
    "uuid.UUID": _word,
    "zoneinfo.ZoneInfo": _zone_key,
    **_those("Address Interface Network", _word, "ipaddress.IPv4"),
    **_those("Address Interface Network", _word, "ipaddress.IPv6"),
    **_those("Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath", _text, "pathlib."),
    "valuestore.EntryRef": _entry,
    **_those("File FileSet Dir StagingFile StagingDir", _external, "valuestore."),
}
"""Python's own types, and what stands for files. Containers may hold data classes."""

# --- of libraries, whose code shall meet no part of a type that it does not expect

_NUMBERS = """bool complex64 complex128 float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32
    uint64"""
_GENERATORS = "MT19937 PCG64 PCG64DXSM Philox SFC64"

_bool, _bytes, _array, _numeral = _a(bool), _a(bytes), _node("numpy.ndarray"), _node(_NUMBERS, "numpy.")
_maybe_array = _either(_none, _array)
_end = _either(_a(bool, float), _moderate, _numeral, _node("pandas.Timestamp pandas.Timedelta"))
_scalar = _either(
    _end,
    _node("str_ bytes_ datetime64 timedelta64", "numpy."),
    _node("Interval NA NaT Period offsets", "pandas."),
    _node("date datetime time timedelta", "datetime."),
    _node("builtins.complex decimal.Decimal fractions.Fraction uuid.UUID"),
)

_missing = _either(_a(str, float, type(None)), _node("pandas.NA"))
_texts = _fields({"na": _missing}, string=_bool)
_field = _either(_row(_text, _dtype, _int), _row(_text, _dtype, _int, _text))
_structure = _fields({"record": _bool}, fields=_each(_field), itemsize=_int)
_fixed = _either(_text, _structure, _fields(base=_dtype, shape=_ints))
_told = _fields(of=_fixed, metadata=_names)
_described = _either(_fixed, _texts, _told)
_elements = _either(
    _fields(dtype=_dtype, shape=_ints, bytes=_bytes),
    _fields(dtype=_either(_text, _told), shape=_ints, items=_a(list)),
    _fields(dtype=_texts, shape=_ints, items=_each(_missing)),
    _fields(dtype=_structure, shape=_ints, fields=_named(_array)),
)
_seed = _fields(
    entropy=_either(_none, _int, _ints, _numeral, _array),
    spawn_key=_ints,
    pool_size=_pool,
    n_children_spawned=_int,
)
_bits = _fields(
    _those("buffer buffer_pos gauss has_gauss has_uint32 uinteger", _either(_int, _float, _array)),
    bit_generator=_word,
    state=_named(_either(_int, _array)),
)

_unit, _closed = _one_of("s ms us ns"), _one_of("left right both neither")
_offset = _node("pandas.offsets")
_freq = {"freq": _either(_none, _offset)}
_index = _node(
    """Index CategoricalIndex DatetimeIndex IntervalIndex MultiIndex PeriodIndex RangeIndex
    TimedeltaIndex""",
    "pandas.",
)
_ARRAYS = {
    "ArrowExtensionArray": _node("pyarrow.Array pyarrow.ChunkedArray"),
    "DatetimeArray": _fields(unit=_unit, zone=is_zone_name, ticks=_array),
    "IntervalArray": _fields(left=_index, right=_index, closed=_closed),
    "NumpyExtensionArray": _array,
    "PeriodArray": _fields(freq=_offset, ordinals=_array),
    "SparseArray": _fields(length=_int, fill_value=_label, values=_array, indices=_array),
    "StringArray": _fields(na=_one_of("NA nan"), items=_perhaps_texts),
    "TimedeltaArray": _fields(unit=_unit, ticks=_array),
    **_those("BooleanArray FloatingArray IntegerArray", _fields(values=_array, mask=_maybe_array)),
}
_column = _either(_array, _node("pandas.Categorical"), _node(" ".join(_ARRAYS), "pandas.arrays."))
_extras = {"attrs": _mapping, "unique_labels": _bool}

_compressed = _fields(shape=_ints, data=_array, indices=_array, indptr=_array)
_coordinates = _fields(shape=_ints, data=_array, coords=_each(_array))
_SPARSE = {
    **_those("bsr csc csr lil", _compressed),
    **_those("coo dok", _coordinates),
    "dia": _fields(shape=_ints, data=_array, offsets=_array),
}

LIBRARIES: dict[str, Check] = {
    **_those(_NUMBERS, _number, "numpy."),
    **_those("datetime64 timedelta64", _fields(dtype=_text, ticks=_int), "numpy."),
    **_those("clongdouble generic longdouble matrix ndarray recarray record void", _elements, "numpy."),
    "numpy.bytes_": _bytes,
    "numpy.dtype": _dtype,
    "numpy.ma.MaskedArray": _fields(
        {"info": _mapping}, data=_array, mask=_maybe_array, fill_value=_array, hard=_bool
    ),
    "numpy.ma.masked": _none,
    "numpy.random.Generator": _node(_GENERATORS, "numpy.random."),
    "numpy.random.RandomState": _bits,
    **_those(_GENERATORS, _fields(state=_bits, seed=_either(_none, _seed)), "numpy.random."),
    "numpy.str_": _text,
    "pandas.Categorical": _fields(codes=_array, categories=_index, ordered=_bool),
    "pandas.CategoricalIndex": _fields(name=_label, data=_node("pandas.Categorical")),
    "pandas.DataFrame": _fields(_extras, columns=_index, index=_index, data=_each(_column)),
    "pandas.DatetimeIndex": _fields(_freq, name=_label, data=_node("pandas.arrays.DatetimeArray")),
    "pandas.Index": _fields(name=_label, data=_column),
    "pandas.Interval": _row(_end, _end, _closed),
    "pandas.IntervalIndex": _fields(name=_label, data=_node("pandas.arrays.IntervalArray")),
    "pandas.MultiIndex": _fields(names=_each(_label), levels=_each(_index), codes=_each(_array)),
    "pandas.NA": _none,
    "pandas.NaT": _none,
    "pandas.Period": _row(_moderate, _offset),
    "pandas.PeriodIndex": _fields(name=_label, data=_node("pandas.arrays.PeriodArray")),
    "pandas.RangeIndex": _fields(name=_label, start=_int, stop=_int, step=_int),
    "pandas.Series": _fields(_extras, name=_label, index=_index, data=_column),
    "pandas.Timedelta": _node("numpy.timedelta64"),
    "pandas.TimedeltaIndex": _fields(_freq, name=_label, data=_node("pandas.arrays.TimedeltaArray")),
    "pandas.Timestamp": _row(_node("numpy.datetime64"), is_zone_name),
    **{f"pandas.arrays.{name}": check for name, check in _ARRAYS.items()},
    "pandas.offsets": _row(_word, _moderate, _bool, _named(_label)),
    "PIL.Image.Image": _fields(
        {"format": _text, "palette": _row(_word, _bytes)},
        mode=_word,
        size=_row(_int, _int),
        info=_mapping,
        pixels=_bytes,
    ),
    **{f"scipy.sparse.{of}_{kind}": check for of, check in _SPARSE.items() for kind in ("array", "matrix")},
    **_those(
        "Tensor nn.Parameter", _fields(dtype=_word, shape=_ints, requires_grad=_bool, bytes=_array), "torch."
    ),
    # read from Arrow files alone; their rules refuse whatever state there is
    **_those("DataFrame LazyFrame Series", _anything, "polars."),
    **_those("Array ChunkedArray DataType Field RecordBatch Scalar Schema Table", _anything, "pyarrow."),
}
"""Types of the libraries that valuestore has rules for; what they hold must be inert."""

_BY_NAME = {
    "builtins": """builtin_function classmethod_descriptor function method method_descriptor module object
        type wrapper_descriptor""",
    "functools": "lru_cache partial",
    "operator": "attrgetter itemgetter methodcaller",
    "valuestore": "Call Configured Operation Partial Task",
}
BY_NAME = frozenset(f"{module}.{name}" for module, names in _BY_NAME.items() for name in names.split())
"""Vouched, though valuestore has the rule: functions, classes and modules, and what calls them."""

VOUCHED = Opening(Kind.VOUCHED)


def is_listed(type_name: str) -> bool:
    """Whether valuestore itself has the rule of that type name: a library is imported for no other."""
    return type_name in STANDARD or type_name in LIBRARIES or type_name in BY_NAME


def opening_of(rule: TypeRule, *, is_ours: bool, trusted: Iterable[str] = ()) -> Opening:
    """Of which kind the values of a rule are. ``is_ours``: valuestore itself has the rule.

    ``trusted`` are the classes that the settings name.
    """
    if is_ours or rule.type.__module__.startswith("valuestore.values.files."):
        return _listed(rule.type_name)
    if not {rule.type_name, type_name_of(rule.type)}.isdisjoint(trusted):
        return Opening(Kind.DATA, _anything)
    if why_not_data(rule):
        return VOUCHED
    return Opening(
        Kind.DATA,
        fields_check(rule),
        parts_are_inert=rule.family in ("enum", "exception"),
        is_key=is_key_safe(rule),
    )


def _listed(type_name: str) -> Opening:
    if check := STANDARD.get(type_name):
        hashed = type_name in ("builtins.set", "builtins.frozenset")
        return Opening(Kind.INERT, check, parts_are_keys=hashed)
    check = LIBRARIES.get(type_name)
    return VOUCHED if check is None else Opening(Kind.INERT, check, parts_are_inert=True)
