"""Kinds: which stored values load for everybody, and which with the signature of a trusted key alone.

The one table of that (docs/decisions/0016), and the one gate: ``needs_key`` looks at a canonical form before
anything of it is built, when it is stored (so that it gets its signature) and when it is read. *Inert* values
are those of the table, their states checked for exact types; *data classes* (data_classes.py) are their
fields; everything else is *vouched*. Called by the registry; builds, imports and executes nothing.
"""

from __future__ import annotations

import array
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from valuestore.errors import DecodeError
from valuestore.hashing import ATOMS
from valuestore.values.identity.canonical import NODE, TypeRule
from valuestore.values.trust.data_classes import fields_check, is_key_safe, why_not_data
from valuestore.values.value import Plain, type_name_of

Check = Callable[[Any], bool]
"""Whether a state, nothing in it built yet, has the exact types that it is stored with."""

_CONTAINERS = frozenset({list, tuple, dict})
_LONGEST_WORD = 200
_MOST_BITS = 1 << 16
_MOST_POOL = 1 << 10
_AMPLIFIED = 64
_FLAGS = int(re.A | re.I | re.L | re.M | re.S | re.U | re.X)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}")


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


def _either(*checks: Check) -> Check:
    return lambda state: any(check(state) for check in checks)


def _node(*type_names: str) -> Check:
    return lambda state: (
        type(state) is tuple and len(state) == 3 and state[0] == NODE and state[1] in type_names
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


def _flags(state: Any) -> bool:
    return type(state) is int and state & ~_FLAGS == 0


def _typecode(state: Any) -> bool:
    return type(state) is str and len(state) == 1 and state in array.typecodes


def _seeded(state: Any) -> bool:
    """Of a random generator, whose seed says how large a pool to make."""
    if type(state) is not dict or type(state.get("seed", {})) not in (dict, type(None)):
        return False
    size = (state.get("seed") or {}).get("pool_size", 4)
    return type(size) is int and 0 < size <= _MOST_POOL


def _external(state: Any) -> bool:
    """Of a File and its like: text, numbers and bytes by name; of a FileSet also the states of its Files."""
    if not _names(state):
        return False
    files = state.get("files", [])
    marks = [part for name, part in state.items() if name != "files"]
    fits = type(files) is list and all(_names(file) and "files" not in file for file in files)
    return fits and _CONTAINERS.isdisjoint(map(type, [*marks, *[p for file in files for p in file.values()]]))


_none, _int, _float, _text = _a(type(None)), _a(int), _a(float), _a(str)
_mapping = _either(_a(dict), _node("builtins.dict"))
_maps = _either(
    _mapping,
    _node(*[f"collections.{name}" for name in ("OrderedDict", "Counter", "defaultdict", "ChainMap")]),
    _node("types.MappingProxyType"),
)
_zone = _either(_none, _node("datetime.timezone", "zoneinfo.ZoneInfo"))
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
    **{
        f"ipaddress.IPv{version}{what}": _word
        for version in (4, 6)
        for what in ("Address", "Interface", "Network")
    },
    **{f"pathlib.{name}": _text for name in ("Path", "PosixPath", "WindowsPath")},
    **{f"pathlib.Pure{name}": _text for name in ("Path", "PosixPath", "WindowsPath")},
    **{f"valuestore.{name}": _external for name in ("File", "FileSet", "Dir", "StagingFile", "StagingDir")},
}
"""Python's own types, and what stands for files. Containers may hold data classes."""

_OF_LIBRARIES = {
    "numpy": """clongdouble datetime64 dtype generic longdouble ma.MaskedArray ma.masked matrix ndarray
        recarray record timedelta64 void""",
    "pandas": """Categorical CategoricalIndex DataFrame DatetimeIndex Index Interval IntervalIndex MultiIndex
        NA NaT Period PeriodIndex RangeIndex Series Timedelta TimedeltaIndex Timestamp offsets""",
    "pandas.arrays": """ArrowExtensionArray BooleanArray DatetimeArray FloatingArray IntegerArray
        IntervalArray NumpyExtensionArray PeriodArray SparseArray StringArray TimedeltaArray""",
    "PIL": "Image.Image",
    "polars": "DataFrame LazyFrame Series",
    "pyarrow": "Array ChunkedArray DataType Field RecordBatch Scalar Schema Table",
    "scipy.sparse": """bsr_array bsr_matrix coo_array coo_matrix csc_array csc_matrix csr_array csr_matrix
        dia_array dia_matrix dok_array dok_matrix lil_array lil_matrix""",
    "torch": "Tensor nn.Parameter",
}
_NUMPY_NUMBERS = """bool complex64 complex128 float16 float32 float64 int8 int16 int32 int64 uint8 uint16
    uint32 uint64"""
_BIT_GENERATORS = [f"numpy.random.{name}" for name in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")]

_end = _either(
    _a(bool, float),
    _moderate,
    _node("pandas.Timestamp", "pandas.Timedelta", *[f"numpy.{name}" for name in _NUMPY_NUMBERS.split()]),
)

LIBRARIES: dict[str, Check] = {
    **{f"{library}.{name}": _anything for library, names in _OF_LIBRARIES.items() for name in names.split()},
    **{f"numpy.{name}": _number for name in _NUMPY_NUMBERS.split()},
    **dict.fromkeys([*_BIT_GENERATORS, "numpy.random.RandomState"], _seeded),
    "numpy.bytes_": _a(bytes),
    "numpy.random.Generator": _node(*_BIT_GENERATORS),
    "numpy.str_": _text,
    "pandas.Interval": _row(_end, _end, _word),
    "pandas.NA": _none,
    "pandas.NaT": _none,
    "pandas.Period": _row(_moderate, _node("pandas.offsets")),
    "pandas.Timedelta": _node("numpy.timedelta64"),
    "pandas.Timestamp": _row(_node("numpy.datetime64"), _either(_none, _word)),
    "pandas.offsets": _row(_word, _moderate, _a(bool), _names),
}
"""Types of the libraries that valuestore has rules for; what they hold must be inert."""

_BY_NAME = {
    "builtins": """builtin_function classmethod_descriptor function method method_descriptor module object
        type wrapper_descriptor""",
    "functools": "lru_cache partial",
    "operator": "attrgetter itemgetter methodcaller",
    "valuestore": "Call Operation Task",
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


# --- the gate -----------------------------------------------------------------------------------


class Known(Protocol):
    """Where the gate looks types up: the registry."""

    def opening_named(self, type_name: str, /) -> tuple[Opening, TypeRule | None]:
        """Of which kind values of that type name are, and the rule. Raises: DecodeError."""


class _Vouched(Exception):
    """A part was met that needs a signature."""


def needs_key(form: Plain, rules: Known, size: int) -> str | None:
    """The type of the first part that loads with a signature alone; None if there is none.

    ``size`` is that of the payload, in bytes. Raises: DecodeError for what nobody has stored.
    """
    try:
        _Look(rules, size).at(form, inert=False, key=False)
    except _Vouched as found:
        return str(found)
    return None


class _Look:
    """One look at a form."""

    def __init__(self, rules: Known, size: int) -> None:
        self.rules = rules
        self.most_made = _AMPLIFIED * size

    def at(self, form: Plain, *, inert: bool, key: bool) -> None:
        """Look at all of it. ``inert``: data classes are not allowed; ``key``: it is going to be hashed."""
        stack = [form]
        while stack:
            part = stack.pop()
            kind = type(part)
            if kind is tuple and part and part[0] == NODE:
                self.node(part, stack, inert, key)
            elif kind in _CONTAINERS:
                parts = part.values() if kind is dict else part
                if not ATOMS.issuperset(map(type, parts)):
                    stack.extend([one for one in parts if type(one) in _CONTAINERS])

    def node(self, node: tuple[Any, ...], stack: list[Plain], inert: bool, key: bool) -> None:
        type_name = node[1] if len(node) in (3, 4) else None
        if type(type_name) is not str:
            raise DecodeError("tagged", "a node without type name and state")
        state = node[2]
        if type_name == "builtins.tuple":
            stack.extend(_items(type_name, state))
        elif type_name == "builtins.dict":
            for pair in _items(type_name, state):
                name, value = _items(type_name, pair)
                stack.append(value)
                if type(name) in _CONTAINERS:
                    self.at(name, inert=inert, key=True)
        elif len(node) == 4:
            opening, rule = self.rules.opening_named(type_name)
            codec = rule.codec.name if rule is not None and rule.codec is not None else None
            if opening.kind is not Kind.INERT or codec != state or type(node[3]) is not bytes:
                raise _Vouched(type_name)
        else:
            self.state(type_name, state, stack, inert, key)

    def state(self, type_name: str, state: Plain, stack: list[Plain], inert: bool, key: bool) -> None:
        opening, _ = self.rules.opening_named(type_name)
        if opening.kind is Kind.VOUCHED or (inert and opening.kind is Kind.DATA):
            raise _Vouched(type_name)
        if key and not opening.is_key:
            raise _Vouched(type_name)
        if not opening.check(state):
            self.at(state, inert=inert or opening.parts_are_inert, key=False)  # something in it may say why
            if opening.kind is Kind.INERT or type(state) is not dict:
                raise DecodeError(type_name, "its stored state is none of that type")
            raise _Vouched(type_name)
        if inert and type_name in ("builtins.range", "pandas.RangeIndex") and self._is_long(state):
            raise _Vouched(type_name)
        if opening.parts_are_keys:
            self.at(state, inert=inert, key=True)
        elif opening.parts_are_inert and not inert:
            self.at(state, inert=True, key=key)
        elif type(state) in _CONTAINERS:
            stack.append(state)

    def _is_long(self, state: Plain) -> bool:
        """Whether a library that takes a range for its items would make more of it than there are bytes."""
        ends = state if type(state) is list else [state.get(name) for name in ("start", "stop", "step")]
        if [type(end) for end in ends] != [int, int, int]:
            return True
        start, stop, step = ends
        return step == 0 or bool(abs(stop - start) // abs(step) > self.most_made)


def _items(type_name: str, state: Plain) -> list[Any] | tuple[Any, ...]:
    if type(state) not in (list, tuple):
        raise DecodeError(type_name, "its items are no list")
    return state  # type: ignore[no-any-return]
