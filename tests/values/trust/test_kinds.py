"""Which kind everything is of that a program with the scientific stack can name: I9, shown class by class."""

from __future__ import annotations

import builtins
import datetime
import functools
import gc
import os
import subprocess
import types
from importlib import import_module

import numpy
import pandas
import pytest

from tests.golden import science
from tests.values.codecs import test_frames as frames
from valuestore.errors import DecodeError
from valuestore.hashing import encode_plain
from valuestore.plugins import BUILTIN
from valuestore.values.code.ownership import is_own
from valuestore.values.codecs.npy import encode as encode_npy
from valuestore.values.identity.builtins import BUILTIN_RULES, PLAIN_TYPE_NAMES
from valuestore.values.identity.canonical import NODE, lower
from valuestore.values.registry import Payload, TypeRegistry
from valuestore.values.trust.gate import needs_key
from valuestore.values.trust.kinds import BY_NAME, LIBRARIES, STANDARD, Kind
from valuestore.values.value import Value, find_class, type_name_of, value_types

STACK = (
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy.sparse",
    "scipy.stats",
    "PIL.Image",
    "pydantic",
    "attrs",
)
RISKY = (os, subprocess, builtins, types, functools)


@pytest.fixture(scope="module")
def registry():
    for library in STACK:
        import_module(library)
    registry = TypeRegistry()
    for library in BUILTIN["types"]:
        if library != "torch":
            registry._load_types(library)
    return registry


def every_class():
    """All classes there are here, by the name that a row would name them by."""
    found = {}
    gc.unfreeze()  # what collection made: tests/conftest.py
    classes = [cls for cls in gc.get_objects() if issubclass(type(cls), type)]
    gc.freeze()
    for cls in classes:
        try:
            name = type_name_of(cls)
        except Exception:
            continue
        if find_class(name) is cls:
            found[name] = cls
    return found


def kind_named(registry, name):
    try:
        return registry.opening_named(name)[0].kind
    except Exception as error:
        assert type(error).__name__ == "DecodeError", name
        return None


def test_every_class_is_of_one_kind(registry):
    kinds = {name: kind_named(registry, name) for name in every_class()}
    assert len(kinds) > 2000
    inert = {name for name, kind in kinds.items() if kind is Kind.INERT}
    assert inert <= STANDARD.keys() | LIBRARIES.keys()
    data = {name: find_class(name) for name, kind in kinds.items() if kind is Kind.DATA}
    for name, cls in data.items():
        rule = registry.rule_named(name)
        assert rule.family, name
        is_builtin_exception = issubclass(cls, BaseException) and cls.__module__ == "builtins"
        of_library = not is_own(cls.__module__) and not cls.__module__.startswith("valuestore.")
        assert rule.family == "enum" or is_builtin_exception or not of_library, name
        assert not hasattr(cls, "__del__"), name
    assert {Kind.INERT, Kind.DATA, Kind.VOUCHED} <= {*kinds.values()}


@pytest.mark.parametrize("module", RISKY, ids=lambda module: module.__name__)
def test_nothing_of_a_module_that_acts_loads_without_a_key(registry, module):
    for name, member in vars(module).items():
        cls = member if isinstance(member, type) else type(member)
        kind = kind_named(registry, type_name_of(cls))
        plain = cls in PLAIN_TYPE_NAMES or issubclass(cls, BaseException)
        allowed = plain or type_name_of(cls) in STANDARD or "Enum" in type(cls).__name__
        assert allowed or kind in (Kind.VOUCHED, None), (name, kind)
        if callable(member) and not isinstance(member, type):
            assert kind in (Kind.VOUCHED, None), (name, kind)


def test_every_rule_of_ours_is_in_the_table(registry):
    rules = [rule.type_name for rule in BUILTIN_RULES]
    for target in BUILTIN["types"].values():
        module, _, attribute = target.partition(":")
        if not module.endswith("torch"):
            rules += [rule.type_name for rule in getattr(import_module(module), attribute)]
    listed = STANDARD.keys() | LIBRARIES.keys() | BY_NAME
    assert {*rules} <= listed
    external = {name for name in STANDARD if name.startswith("valuestore.")}
    windows_and_posix = {name for name in listed if name.startswith("pathlib.")}
    assert listed - {*rules} - external - windows_and_posix <= {"torch.Tensor", "torch.nn.Parameter"}


def test_every_value_type_of_ours_is_of_a_kind_on_purpose(registry):
    ours = {name for name, cls in value_types.items() if cls.__module__.startswith("valuestore.")}
    assert {name for name in ours if kind_named(registry, name) is Kind.INERT} == {
        f"valuestore.{name}" for name in ("File", "FileSet", "Dir", "StagingFile", "StagingDir")
    } & ours
    assert {name for name in ours if kind_named(registry, name) is Kind.DATA} == set()


# --- what libraries are given ------------------------------------------------------------------------

OFFSETS = [
    pandas.offsets.BusinessHour(start=["09:00", "14:00"], end=["12:00", "18:00"]),
    pandas.offsets.CustomBusinessDay(holidays=["2026-01-01"], weekmask="Mon Tue"),
    pandas.offsets.CustomBusinessMonthEnd(offset=pandas.Timedelta("1h").to_pytimedelta()),
    pandas.offsets.FY5253Quarter(startingMonth=1, weekday=2, variation="last"),
    pandas.offsets.LastWeekOfMonth(weekday=3),
    pandas.offsets.Nano(5),
]
OF_LIBRARIES = {
    **{name: make() for name, make in science.CASES.items()},
    **{f"column of {name}": pandas.Index(column, name=name) for name, column in frames.SERIES.items()},
    **{f"frame: {name}": frame for name, frame in frames.FRAMES.items()},
    **{type(offset).__name__: offset for offset in OFFSETS},
    "names of many kinds": pandas.MultiIndex.from_product(
        [[1], [2], [3]], names=[("a", 1), datetime.date(2026, 1, 1), numpy.int8(3)]
    ),
    "objects in a structure": numpy.array([(1, {"a": 2})], [("a", "<i8"), ("b", "O")]),
    "told of a dtype": numpy.array([1], numpy.dtype("<i8", metadata={"unit": "m"})),
    "a mask that says why": numpy.ma.array([{1}, None], mask=[True, False], dtype=object),
    "a series by state": pandas.Series([{1}], name=("a", None), dtype=object),
    "a record": numpy.rec.array([(1, 2.0)], dtype=[("a", "<i8"), ("b", "<f8")])[0],
    "a long number": numpy.longdouble(1),
    "seeded by several": numpy.random.default_rng((1, 2)),
    "seeded by a number of numpy": numpy.random.default_rng(numpy.int64(5)),
    "a drawn number": numpy.random.Generator(numpy.random.MT19937([1, 2]).jumped()),
}
if hasattr(numpy.dtypes, "StringDType"):  # numpy 2 has it
    OF_LIBRARIES["texts of numpy"] = numpy.array(["a", None], numpy.dtypes.StringDType(na_object=None))
OF_ANYTHING = {"attrs", "info", "items", "metadata"}
FRAME = pandas.DataFrame({"a": [{1}]}, dtype=object)


def states(form):
    """The type name and state of each object of a library in the form that is not in a format of its own."""
    if type(form) is dict:
        yield from states([*form.values()])
    elif type(form) in (list, tuple):
        if form[:1] == (NODE,) and form[1] in LIBRARIES and len(form) == 3:
            yield form[1:]
        for part in form:
            yield from states(part)


def with_another(state, part):
    """The state as often as it has parts of fixed types, another of them replaced each time; and replaced."""
    yield part
    if type(state) is dict:
        for name in state.keys() - OF_ANYTHING:
            yield from ({**state, name: wrong} for wrong in with_another(state[name], part))
    elif type(state) is list:
        for place, right in enumerate(state[:5]):
            yield from ([*state[:place], wrong, *state[place + 1 :]] for wrong in with_another(right, part))


@pytest.mark.parametrize("name", OF_LIBRARIES)
def test_what_a_library_makes_loads_for_everybody(registry, name):
    payload = registry.dump([OF_LIBRARIES[name]])
    assert payload.codec == "tagged"
    assert registry.hash(registry.load(payload)) == registry.hash([OF_LIBRARIES[name]])


@pytest.mark.parametrize("name", OF_LIBRARIES)
def test_what_a_library_does_not_expect_is_refused_before_it_is_called(registry, name):
    frame = lower(FRAME, registry).stored
    for type_name, state in states(lower(OF_LIBRARIES[name], registry).stored):
        for wrong in with_another(state, frame):
            with pytest.raises(DecodeError, match=f"{type_name}.*none of that type"):
                needs_key((NODE, type_name, wrong), registry, 10_000)


def npy(array):
    return (NODE, "numpy.ndarray", "npy", b"".join(encode_npy(numpy.asarray(array))))


def told(dtype, **parts):
    return (NODE, "numpy.ndarray", {"dtype": dtype, "shape": [1], **parts})


MISSHAPEN = {
    "months in no dimension": (  # which crashed pandas as it put its refusal into words
        "pandas.arrays.PeriodArray",
        {"freq": (NODE, "pandas.offsets", ["MonthEnd", 1, False, {}]), "ordinals": npy(0.5)},
    ),
    "moments in two": ("pandas.arrays.DatetimeArray", {"unit": "s", "zone": None, "ticks": npy([[1]])}),
    "spans of fractions": ("pandas.arrays.TimedeltaArray", {"unit": "s", "ticks": npy([0.5])}),
    "a column in two": ("pandas.DataFrame", {"columns": 1, "index": 1, "data": [npy([[1]])]}),
    "texts made of objects": (
        "numpy.ndarray",
        {
            "dtype": {"fields": [["a", "<U5", 0], ["b", "|O", 24]], "itemsize": 32},
            "shape": [1],
            "fields": {"a": told("|O", items=[{"x": 1}]), "b": told("|O", items=[1])},
        },
    ),
    "texts of any size made of objects": (
        "numpy.ndarray",
        {"dtype": {"of": {"string": True}, "metadata": {}}, "shape": [1], "items": [{"x": 1}]},
    ),
    "an object for numbers": (
        "numpy.ma.MaskedArray",
        {"data": npy([1]), "mask": None, "fill_value": told("|O", items=[{"x": 1}]), "hard": False},
    ),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_arrays_of_other_shapes_or_dtypes_are_refused(registry, name):
    type_name, state = MISSHAPEN[name]
    if type_name == "pandas.DataFrame":
        state = {**state, **dict.fromkeys(("columns", "index"), lower(pandas.Index([1]), registry).stored)}
    data = encode_plain((NODE, type_name, state))
    with pytest.raises(
        DecodeError, match="other shapes? or dtype|another shape|is an object|none of that type"
    ):
        registry.load(Payload(type_name, "tagged", data))


class Span(Value):
    def __init__(self, start):
        self.start = start

    @classmethod
    def from_state(cls, state):
        return cls(state["start"])


def test_the_settings_name_classes_that_load_without_a_key():
    name = f"{__name__}.Span"
    payload = TypeRegistry().bound("xxh3-128", None, [name]).dump([Span(1)])
    assert payload.codec == "tagged"
    assert TypeRegistry().dump([Span(1)]).codec == "signed"
    with pytest.raises(Exception, match="no key signed it"):
        TypeRegistry().load(payload)
    assert TypeRegistry().bound("xxh3-128", None, [name]).load(payload)[0].start == 1
